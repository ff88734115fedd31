"""`python -m pyrobust`: the command line."""

from pyrobust.cli import main

if __name__ == "__main__":
    main()

"""Builds the compiled core in a source tree where it is older than its sources.

python -m pyrobust.workflow.core_build FOLDER
"""

import subprocess
import sys
from pathlib import Path

_SOURCES = (".cpp", ".cu", ".cuh", ".h")


def is_current(folder: Path) -> bool:
    """Return whether the core in `folder` is newer than its sources, or `folder` has no sources.

    Without sources, the package was installed with its core.
    """
    setup = folder / "setup.py"
    if not setup.is_file():
        return True
    built = [path.stat().st_mtime_ns for path in (folder / "pyrobust").glob("_C*.so")]
    files = [setup, *(p for p in (folder / "csrc").rglob("*") if p.suffix in _SOURCES)]
    return bool(built) and min(built) >= max(path.stat().st_mtime_ns for path in files)


def main(folder: Path) -> int:
    """Build the core if that is needed; return the exit status."""
    if is_current(folder):
        print("the core is up to date")
        return 0
    command = [sys.executable, "setup.py", "build_ext", "--inplace"]
    return subprocess.run(command, cwd=folder, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

"""The Python interface: what `import pyrobust` offers."""

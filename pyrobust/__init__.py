"""Robust image classifiers trained with generated data (Gowal et al. 2021)."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("pyrobust")
except PackageNotFoundError:  # a source tree that was not installed
    __version__ = "unknown"

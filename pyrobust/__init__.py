"""Robust image classifiers trained with generated data (Gowal et al. 2021)."""

__version__ = "0.1.0"

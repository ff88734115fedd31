"""Robust and standard training: batches, steps, the loop, early stopping, choice of a run."""

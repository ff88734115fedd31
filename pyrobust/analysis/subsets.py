"""Seeded draws of images, with the class shares of a set or equal for all classes."""

import numpy as np

from pyrobust.data.permutation import permute


def stratified_subset(labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Return `size` row numbers whose class shares are as near to those of `labels` as can be.

    Args:
        labels: (N,) class of each row.
        size: rows to draw; all are returned where there are fewer.

    Returns:
        (min(size, N),) int64, ascending.
    """
    if size >= len(labels):
        return np.arange(len(labels))
    counts = np.bincount(labels)
    # Largest remainders: whole parts first, then one more to the largest fractions.
    quotas, remainders = np.divmod(counts * size, len(labels))
    short = size - int(quotas.sum())
    quotas[np.argsort(-remainders, kind="stable")[:short]] += 1
    return _draw(labels, quotas, seed)


def balanced_subset(labels: np.ndarray, num_classes: int, class_size: int, seed: int) -> np.ndarray:
    """Return `class_size` row numbers of each class, (num_classes * class_size,) ascending.

    Raises:
        ValueError: a class has fewer rows.
    """
    counts = np.bincount(labels, minlength=num_classes)
    if counts.min() < class_size:
        raise ValueError(f"a class has {counts.min()} rows, expected at least {class_size}")
    return _draw(labels, np.full(num_classes, class_size), seed)


def _draw(labels: np.ndarray, quotas: np.ndarray, seed: int) -> np.ndarray:
    """Return the first quotas[c] rows of each class c in the order of a seeded permutation."""
    rank = permute(np.arange(len(labels)), len(labels), seed)
    order = np.lexsort((rank, labels))  # by class, then at random
    starts = np.cumsum(np.bincount(labels, minlength=len(quotas))) - np.bincount(
        labels, minlength=len(quotas)
    )
    place = np.arange(len(labels)) - starts[labels[order]]
    return np.sort(order[place < quotas[labels[order]]])

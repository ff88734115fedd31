"""Seeded draws of images, with the class shares of a set or equal for all classes."""

import numpy as np

from pyrobust.data.permutation import permute
from pyrobust.data.selection import class_counts, true_ids

# Rows that are ranked at a time: a permutation takes 48 bytes a row, and there are 100M rows.
_BLOCK = 1 << 16


def stratified_subset(labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Return `size` row numbers whose class shares are as near to those of `labels` as can be.

    Args:
        labels: (N,) class of each row, integers of any type; held in memory are 2 bytes a row
            beside, and 13 a row of the largest class.
        size: rows to draw; all are returned where there are fewer.

    Returns:
        (min(size, N),) int64, ascending.
    """
    if size >= len(labels):
        return np.arange(len(labels))
    counts = class_counts(labels, int(labels.max()) + 1)
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
    counts = class_counts(labels, num_classes)
    if counts.min() < class_size:
        raise ValueError(f"a class has {counts.min()} rows, expected at least {class_size}")
    return _draw(labels, np.full(num_classes, class_size), seed)


def _draw(labels: np.ndarray, quotas: np.ndarray, seed: int) -> np.ndarray:
    """Return the first quotas[c] rows of each class c in the order of a seeded permutation."""
    kept = np.zeros(len(labels), dtype=bool)
    for label, quota in enumerate(quotas.tolist()):
        if quota:
            members = true_ids(labels == label)
            rank = _ranks(members, len(labels), seed)
            kept[members[rank <= np.partition(rank, quota - 1)[quota - 1]]] = True
    return np.flatnonzero(kept)


def _ranks(rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return the places of `rows` in a seeded permutation of `count`, in the type of `rows`."""
    ranks = np.empty_like(rows)
    for first in range(0, len(rows), _BLOCK):
        ranks[first : first + _BLOCK] = permute(rows[first : first + _BLOCK], count, seed)
    return ranks

"""Seeded, stratified splits."""

import numpy as np
from numpy.typing import NDArray

from pyrobust.data.permutation import permute
from pyrobust.errors import UserError


def hold_out(labels: np.ndarray, size: int, seed: int, setting: str) -> np.ndarray:
    """Return a mask of `size` rows with each class in its share of `labels`.

    Every class keeps at least one row that is not held out.

    Args:
        labels: (N,) classes.
        setting: name of the setting that `size` comes from, for messages.

    Raises:
        UserError: there are too few rows.
    """
    classes, counts = np.unique(labels, return_counts=True)
    if size > len(labels) - len(classes):
        raise UserError(
            f"{setting} is {size}, expected at most {len(labels) - len(classes)}: "
            f"there are {len(labels)} images of {len(classes)} classes, and each class keeps one"
        )
    held_out = np.zeros(len(labels), dtype=bool)
    for label, quota in zip(classes, _shares(counts, size), strict=True):
        rows = np.flatnonzero(labels == label)
        held_out[rows[permute(np.arange(quota), len(rows), seed, stream=int(label))]] = True
    return held_out


def _shares(counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Deal `size` out in proportion to `counts` - 1, largest remainders first."""
    room = counts - 1
    shares, remainders = np.divmod(room * size, room.sum())
    shares[np.argsort(-remainders, kind="stable")[: size - shares.sum()]] += 1
    return shares

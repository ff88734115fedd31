"""Equal rows of float32 values, found by their hashes: generated samples may be copies."""

import numpy as np

_ROWS = 1 << 11  # hashed at once: little enough for the caches


def distinct_rows(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the next index (or -1) of each distinct row of points (n, d)."""
    rows = np.ascontiguousarray(points + np.float32(0))  # which makes -0 equal to 0
    _, group = np.unique(_hashes(rows), return_inverse=True)
    shared = np.flatnonzero(np.bincount(group)[group] > 1)
    alone = np.setdiff1d(np.arange(len(rows)), shared, assume_unique=True)
    if not shared.size:
        return alone, np.full(len(alone), -1)
    # Rows of equal hash are compared byte by byte.
    bytes_of_row = np.dtype((np.void, rows.itemsize * rows.shape[1]))
    _, firsts, group = np.unique(
        rows[shared].view(bytes_of_row).ravel(), return_index=True, return_inverse=True
    )
    order = np.argsort(group, kind="stable")  # indices stay ascending within a group
    starts = np.searchsorted(group[order], np.arange(len(firsts)))
    several = np.bincount(group) > 1
    second = np.full(len(firsts), -1)
    second[several] = shared[order[starts[several] + 1]]
    return np.concatenate([alone, shared[firsts]]), np.concatenate(
        [np.full(len(alone), -1), second]
    )


def _hashes(rows: np.ndarray) -> np.ndarray:
    """Return a 64-bit hash of each row of float32 values; equal rows have equal ones."""
    factors = np.random.SeedSequence(0).generate_state(rows.shape[1], np.uint64) | np.uint64(1)
    result = np.empty(len(rows), np.uint64)
    for start in range(0, len(rows), _ROWS):
        part = slice(start, start + _ROWS)
        result[part] = rows[part].view(np.uint32).astype(np.uint64) @ factors
    return result

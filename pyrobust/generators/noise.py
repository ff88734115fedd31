"""Standard normals that depend on (seed, image id) alone."""

import numpy as np


def standard_normals(seed: int, ids: np.ndarray, count: int) -> np.ndarray:
    """Return (len(ids), count) float64 normals; row k is a function of (seed, ids[k]) alone.

    Each id has its own range of 2^192 counters of one Philox stream (Salmon et al. 2011).
    """
    normals = np.empty((len(ids), count))
    for row, image_id in zip(normals, ids.tolist(), strict=True):
        stream = np.random.Philox(key=[seed, 0], counter=[0, 0, 0, image_id])
        np.random.Generator(stream).standard_normal(out=row)
    return normals

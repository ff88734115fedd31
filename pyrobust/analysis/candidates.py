"""Candidates for nearest neighbours, proposed by FAISS in float32.

FAISS brings its own OpenMP, which must not meet a fork: it is imported on first use, by the
stages that search, and no process of theirs starts others.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

# queries (q, d), k -> approximate squared distances (q, k), ascending, and places (q, k) among
# the points, -1 where there is none.
Search = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]

# FAISS holds the distances of so many queries to so many points.
QUERIES_AT_ONCE, POINTS_AT_ONCE = 4096, 1024


@dataclass(frozen=True)
class Proposer:
    """A way of finding candidates."""

    build: Callable[[np.ndarray], Search]
    """Prepares the search among points (n, d)."""
    complete: bool
    """Whether all points but the candidates are farther away, up to rounding."""
    sieved: bool
    """Whether it searches only the parts of the points that a sieve lets pass."""


def exhaustive() -> Proposer:
    """Compare all pairs, on a GPU where there is one."""
    faiss = _faiss()

    def on_cpu(points: np.ndarray) -> Search:
        return lambda queries, k: faiss.knn(queries, points, k)

    def on_gpu(points: np.ndarray) -> Search:
        index = faiss.GpuIndexFlatL2(faiss.StandardGpuResources(), points.shape[1])
        index.add(points)
        return lambda queries, k: index.search(queries, k)

    if uses_gpu():
        return Proposer(on_gpu, complete=True, sieved=False)
    return Proposer(on_cpu, complete=True, sieved=True)


def inverted_lists(probes: int) -> Proposer:
    """Compare each query with the points of the `probes` nearest of about 4 sqrt(n) clusters."""
    faiss = _faiss()

    def build(points: np.ndarray) -> Search:
        count, dimensions = points.shape
        num_lists = max(1, min(round(4 * math.sqrt(count)), count // 39))  # k-means asks for 39
        index = faiss.IndexIVFFlat(faiss.IndexFlatL2(dimensions), dimensions, num_lists)
        index.train(points)
        index.add(points)
        index.nprobe = probes
        return lambda queries, k: index.search(queries, k)

    return Proposer(build, complete=False, sieved=False)


def uses_gpu() -> bool:
    """Tell whether FAISS sees a GPU."""
    return bool(_faiss().get_num_gpus() > 0)


def _faiss() -> Any:
    """Import FAISS without its report on vector instructions."""
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
    import faiss

    return faiss

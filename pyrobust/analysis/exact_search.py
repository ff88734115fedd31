"""Exact nearest neighbours of any number of vectors, block by block, resumable.

pyrobust/analysis/point_block.py says why the answer is exact.
"""

import time
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from pyrobust.analysis.candidates import (
    POINTS_AT_ONCE,
    QUERIES_AT_ONCE,
    Neighbours,
    Proposer,
    exhaustive,
)
from pyrobust.analysis.pca import FeatureRows
from pyrobust.analysis.point_block import PointBlock
from pyrobust.files import atomic_path
from pyrobust.progress import counting


class SearchState:
    """A file with the nearest of the points that were compared so far.

    Args:
        path: of the file; its suffix is .npz.
        identity: digest of all that the search depends on; the state of another one is dropped.
        seconds: between two savings, since 100M samples take 1.6 GB each time.
    """

    def __init__(self, path: Path, identity: str, seconds: float = 300) -> None:
        self._path = path
        self._identity = identity
        self._seconds = seconds
        self._saved = time.monotonic()

    def load(self, index: np.ndarray, squared_distance: np.ndarray) -> int:
        """Fill both arrays (n,) as they were saved; return how many points were compared."""
        try:
            with np.load(self._path, allow_pickle=False) as state:
                if str(state["identity"]) != self._identity:
                    return 0
                done, saved = int(state["done"]), (state["index"], state["squared_distance"])
            index[:], squared_distance[:] = saved
            return done
        except (OSError, EOFError, KeyError, ValueError, BadZipFile):
            return 0

    def save(self, done: int, index: np.ndarray, squared_distance: np.ndarray) -> None:
        """Keep both arrays, unless they were kept a short while ago."""
        if time.monotonic() - self._saved < self._seconds:
            return
        with atomic_path(self._path) as temporary:
            np.savez(
                temporary,
                done=done,
                identity=self._identity,
                index=index,
                squared_distance=squared_distance,
            )
        self._saved = time.monotonic()

    def remove(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)


def nearest_neighbours(
    queries: FeatureRows,
    points: FeatureRows,
    memory_bytes: int,
    own: np.ndarray | None = None,
    proposer: Proposer | None = None,
    what: str = "nearest neighbours",
    state: SearchState | None = None,
) -> Neighbours:
    """Return the nearest point of each query by (distance in float64, index).

    Args:
        queries: (n, d) float32, finite; read in blocks.
        points: (m, d) float32, finite; read in blocks.
        memory_bytes: bound on what is held at once, apart from 16 bytes a query.
        own: (n,) index of the point that each query must not find, where the queries are points
            themselves. They are left out by index, not by distance: a copy of a query is a
            neighbour like any other.
        proposer: finds candidates; it looks at all points where not given.
        what: is done, for the progress line.
        state: keeps what was found after each block of points, and has what a killed search found.
    """
    proposer = proposer or exhaustive()
    point_block, query_block = block_sizes(points.shape[1], memory_bytes, proposer.complete)
    found = Neighbours(np.full(queries.shape[0], -1, np.int64), np.full(queries.shape[0], np.inf))
    done = 0 if state is None else state.load(found.index, found.squared_distance)
    work = queries.shape[0] * -(-(points.shape[0] - done) // point_block)
    with counting(work, what, "queries") as advance:
        for start in range(done, points.shape[0], point_block):
            block = PointBlock(points[start : start + point_block], start, proposer)
            for first in range(0, queries.shape[0], query_block):
                here = slice(first, first + query_block)
                some = queries[here]
                block.search(some, None if own is None else own[here], found.part(here))
                advance(len(some))
            del block  # before the next is made
            if state is not None:
                stop = min(start + point_block, points.shape[0])
                state.save(stop, found.index, found.squared_distance)
    return found


def block_sizes(dimensions: int, memory_bytes: int, complete: bool) -> tuple[int, int]:
    """Return how many points and how many queries are held at once.

    A point is held as it came, as a distinct one, centred, in the sieve, which is half of that or
    all, and once more in an inverted file; a query as it came, centred, once more while it is
    searched, with the parts that may hold its nearest, and with its candidates. FAISS's own
    distances come first: a quarter of little memory, 16 MiB of much.
    """
    row = 4 * POINTS_AT_ONCE
    distances = min(row * QUERIES_AT_ONCE, memory_bytes // 4)
    memory_bytes -= distances
    point = (16 if complete else 20) * dimensions + 128
    query = 12 * dimensions + 1280
    points = int(0.7 * memory_bytes) // point
    queries = min(1 << 16, int(0.2 * memory_bytes) // query)
    if distances < row * QUERIES_AT_ONCE:
        queries = min(queries, distances // row)
    return max(points, 1024), max(queries, 1024)

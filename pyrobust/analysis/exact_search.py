"""Exact nearest neighbours of any number of vectors, block by block, resumable.

pyrobust/analysis/point_block.py says why the answer is exact.
"""

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
from pyrobust.analysis.search_state import SearchState, SearchStates
from pyrobust.progress import counting
from pyrobust.shares import Share


def nearest_neighbours(
    queries: FeatureRows,
    points: FeatureRows,
    memory_bytes: int,
    own: np.ndarray | None = None,
    proposer: Proposer | None = None,
    what: str = "nearest neighbours",
    state: SearchState | None = None,
    found: Neighbours | None = None,
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
        found: is filled and returned; new arrays if not given.
    """
    proposer = proposer or exhaustive()
    point_block, query_block = block_sizes(points.shape[1], memory_bytes, proposer.complete)
    found = found or Neighbours.none(queries.shape[0])
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
                final = stop == points.shape[0]
                state.save(stop, found.index, found.squared_distance, final)
    return found


def nearest_others(
    points: FeatureRows,
    queries: range,
    memory_bytes: int,
    proposer: Proposer,
    what: str,
    states: SearchStates,
) -> tuple[Neighbours, float]:
    """Return the nearest other point of some of the points, and the seconds of the search.

    What this or another job saved is not searched again.

    Args:
        queries: rows of `points`; `shared_queries` returns those of a job.
        states: of this search; the seconds include those of the runs that saved them.
    """
    found = Neighbours.none(len(queries))
    seconds = 0.0
    for state in states.covering(queries):
        here = state.queries
        nearest_neighbours(
            _Part(points, here),
            points,
            memory_bytes,
            own=np.arange(here.start, here.stop),
            proposer=proposer,
            what=what,
            state=state,
            found=found.part(slice(here.start - queries.start, here.stop - queries.start)),
        )
        seconds += state.seconds
    return found, seconds


def shared_queries(
    count: int, dimensions: int, memory_bytes: int, proposer: Proposer, share: Share | None
) -> range:
    """Return the queries of a job among `count`; all without a share.

    A search that looks at all points gives the same neighbours in any batches. Others get the
    batches of a single job.
    """
    if share is None:
        return range(count)
    _, query_block = block_sizes(dimensions, memory_bytes, proposer.complete)
    return share.rows(count, 1 if proposer.complete else query_block)


class _Part:
    """Some rows, read piece by piece."""

    def __init__(self, rows: FeatureRows, part: range) -> None:
        self._rows, self._first = rows, part.start
        self.shape = (len(part), rows.shape[1])

    def __getitem__(self, piece: slice) -> np.ndarray:
        """Return rows in order, (n, d) float32."""
        first, stop, _ = piece.indices(self.shape[0])
        return self._rows[self._first + first : self._first + stop]


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

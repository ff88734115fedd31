"""Exact nearest neighbours: FAISS proposes, a rounding bound decides, float64 settles.

FAISS computes |q|² + |y|² - 2<q, y> in float32, which rounds: equal vectors come back at some
distance, and near neighbours change places. A sum of d products that are rounded in any order is
off by at most d u |q| |y|, u = 2⁻²⁴ (Higham 2002, section 3.1), so for all three terms together

    |approximate - true| <= E = (d + 16) u (|q| + |y|)².

A point whose approximate distance exceeds the least one by more than 2E is not the nearest. All
others are compared in float64. Where they may be more than the candidates that FAISS returned,
it is asked for more of them. So the answer is that of a comparison of all pairs in float64,
whatever the sizes of the blocks, the number of threads or the device. (A proposer that does not
look at all points gives no such proof; the nearest of what it proposes is then taken.)
"""

import logging
from dataclasses import dataclass

import numpy as np

from pyrobust.analysis.candidates import POINTS_AT_ONCE, QUERIES_AT_ONCE, Proposer, exhaustive
from pyrobust.analysis.pca import FeatureRows
from pyrobust.progress import counting

logger = logging.getLogger(__name__)

_FIRST_CANDIDATES = 4  # about as fast as one in large blocks; eight cost a tenth more
_MORE_CANDIDATES = 8  # times as many in each further round
_MOST_CANDIDATES = 512  # beyond which all points are compared in float64
_PAIRS = 1 << 11  # compared in float64 at once: little enough for the caches


@dataclass(frozen=True)
class Neighbours:
    """The nearest point of each query; the lowest index among equals."""

    index: np.ndarray  # (n,) int64, -1 where there is no point
    squared_distance: np.ndarray  # (n,) float64, infinite where there is no point

    @property
    def distance(self) -> np.ndarray:
        """Euclidean distances, (n,) float64."""
        result: np.ndarray = np.sqrt(self.squared_distance)
        return result


def nearest_neighbours(
    queries: FeatureRows,
    points: FeatureRows,
    memory_bytes: int,
    own: np.ndarray | None = None,
    proposer: Proposer | None = None,
    what: str = "nearest neighbours",
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
    """
    proposer = proposer or exhaustive()
    point_block, query_block = _block_sizes(points.shape[1], memory_bytes, proposer.complete)
    index = np.full(queries.shape[0], -1, np.int64)
    distance = np.full(queries.shape[0], np.inf)
    work = queries.shape[0] * -(-points.shape[0] // point_block)
    with counting(work, what, "queries") as advance:
        for start in range(0, points.shape[0], point_block):
            block = _PointBlock(points[start : start + point_block], start, proposer)
            for first in range(0, queries.shape[0], query_block):
                some = queries[first : first + query_block]
                here = slice(first, first + len(some))
                found = block.nearest(some, None if own is None else own[here])
                # Of equal distances the earlier block keeps its own: its indices are lower.
                nearer = found.squared_distance < distance[here]
                distance[here][nearer] = found.squared_distance[nearer]
                index[here][nearer] = found.index[nearer]
                advance(len(some))
    return Neighbours(index, distance)


def squared_distances(queries: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return |queries[i] - points[i]|² in float64; this is the distance that decides."""
    # In C order, whatever the input: the order of the sum is part of the definition.
    difference = queries.astype(np.float64, order="C") - points
    result: np.ndarray = np.square(difference).sum(axis=-1)
    return result


@dataclass(frozen=True)
class _Queries:
    """Queries that are searched together."""

    values: np.ndarray  # (q, d) float32
    centred: np.ndarray  # (q, d) float32, around the centre of the points
    error: np.ndarray  # (q,) bound E on the error of their approximate distances
    own: np.ndarray | None  # (q,) index of the point that each must not find


class _PointBlock:
    """Points that are searched together. Equal ones are searched once, however many they are."""

    def __init__(self, points: np.ndarray, start: int, proposer: Proposer) -> None:
        places, second = _distinct(points)
        self._points = points[places]
        self._first = places + start
        self._second = np.where(second < 0, -1, second + start)
        # Around their mean the norms are smallest, and with them the rounding error.
        self._centre = self._points.mean(axis=0, dtype=np.float64).astype(np.float32)
        self._centred = self._points - self._centre
        self._largest_norm = float(_norms(self._centred).max())
        self._search = proposer.build(self._centred)
        self._complete = proposer.complete

    def nearest(self, values: np.ndarray, own: np.ndarray | None) -> Neighbours:
        """Return the nearest point of each query (q, d); `own` (q,) are indices to leave out."""
        centred = values - self._centre
        unit = (values.shape[1] + 16) * 2.0**-24
        error = unit * (_norms(centred) + self._largest_norm) ** 2
        queries = _Queries(values, centred, error, own)
        result = Neighbours(np.full(len(values), -1), np.full(len(values), np.inf))
        waiting = np.arange(len(values))
        count = _FIRST_CANDIDATES
        while waiting.size and count <= _MOST_CANDIDATES:
            settled = self._compare_candidates(queries, waiting, count, result)
            waiting = waiting[~settled]
            count *= _MORE_CANDIDATES
        if waiting.size:
            logger.info(f"{waiting.size} queries have many almost equal neighbours")
        for query in waiting.tolist():
            self._compare_all(queries, query, result)
        return result

    def _compare_candidates(
        self, queries: _Queries, waiting: np.ndarray, count: int, result: Neighbours
    ) -> np.ndarray:
        """Settle what `count` candidates can, and tell which of the waiting queries are."""
        count = min(count, len(self._points))
        approximate, places = self._search(queries.centred[waiting], count)
        index = self._indices(queries, waiting, places)
        error = queries.error[waiting]
        limit = np.where(index >= 0, approximate, np.inf).min(axis=1) + 2 * error
        all_seen = count == len(self._points) or not self._complete
        settled: np.ndarray = (approximate[:, -1] > limit) | all_seen
        possible = (index >= 0) & (approximate <= limit[:, None]) & settled[:, None]
        row, column = np.nonzero(possible)
        query = waiting[row]
        distance = self._distances(queries, query, places[row, column])
        if not (np.abs(distance - approximate[row, column]) <= error[row]).all():
            raise ArithmeticError(
                "the search is less exact than float32: TensorFloat-32 or a fault of the device"
            )
        _keep_nearest(result, query, distance, index[row, column])
        return settled

    def _compare_all(self, queries: _Queries, query: int, result: Neighbours) -> None:
        """Settle one query by comparing all points in float64."""
        places = np.arange(len(self._points))
        index = self._indices(queries, np.array([query]), places[None])[0]
        places, index = places[index >= 0], index[index >= 0]
        same = np.full(len(places), query)
        _keep_nearest(result, same, self._distances(queries, same, places), index)

    def _indices(self, queries: _Queries, some: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return the lowest index of the points at `places` (q, k) that a query may find, or -1.

        Args:
            some: (q,) which queries.
        """
        index = np.where(places < 0, -1, self._first[places])
        if queries.own is None:
            return index
        return np.where(index == queries.own[some, None], self._second[places], index)

    def _distances(self, queries: _Queries, query: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Return the distances (p,) of pairs of queries and points."""
        distance = np.empty(len(query))
        for start in range(0, len(query), _PAIRS):
            pairs = slice(start, start + _PAIRS)
            points = self._points[place[pairs]]
            distance[pairs] = squared_distances(queries.values[query[pairs]], points)
        return distance


def _keep_nearest(
    result: Neighbours, query: np.ndarray, distance: np.ndarray, index: np.ndarray
) -> None:
    """Write the first pair of each query by (distance, index) into `result`."""
    order = np.lexsort((index, distance, query))
    _, firsts = np.unique(query[order], return_index=True)
    best = order[firsts]
    result.index[query[best]] = index[best]
    result.squared_distance[query[best]] = distance[best]


def _distinct(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
    for start in range(0, len(rows), _PAIRS):
        part = slice(start, start + _PAIRS)
        result[part] = rows[part].view(np.uint32).astype(np.uint64) @ factors
    return result


def _norms(rows: np.ndarray) -> np.ndarray:
    """Return Euclidean norms in float64, (n,), rounded up: they enter a bound."""
    squares = np.einsum("ij,ij->i", rows, rows).astype(np.float64)
    norms: np.ndarray = np.sqrt(squares) * (1 + rows.shape[1] * 2.0**-23)
    return norms


def _block_sizes(dimensions: int, memory_bytes: int, complete: bool) -> tuple[int, int]:
    """Return how many points and how many queries are held at once.

    A point is held as it came, as a distinct one, centred, once more while these are made, and
    once more in an inverted file; a query as it came, centred, and with its candidates. FAISS's
    own distances come first: a quarter of little memory, 64 MiB of much.
    """
    row = 4 * POINTS_AT_ONCE
    distances = min(row * QUERIES_AT_ONCE, memory_bytes // 4)
    memory_bytes -= distances
    point = (16 if complete else 20) * dimensions + 64
    query = 12 * dimensions + 1024
    points = int(0.7 * memory_bytes) // point
    queries = min(1 << 16, int(0.2 * memory_bytes) // query)
    if distances < row * QUERIES_AT_ONCE:
        queries = min(queries, distances // row)
    return max(points, 1024), max(queries, 1024)

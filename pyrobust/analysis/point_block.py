"""One block of points: a sieve, FAISS proposes, a rounding bound decides, float64 settles.

FAISS computes |q|² + |y|² - 2<q, y> in float32, which rounds: equal vectors come back at some
distance, and near neighbours change places. A sum of d products that are rounded in any order is
off by at most d u |q| |y|, u = 2⁻²⁴ (Higham 2002, section 3.1), so for all three terms together

    |approximate(y) - true(y)| <= E(|y|) = (d + 16) u ((|q| + |y|)² + 2⁻¹⁰⁰),

where the constant is for products that are too small for float32.

The nearest point lies within D = min approximate(y) + E(|y|) over any points y that were seen. So
its norm is at most |q| + √D, and its approximate distance at most D + E(|q| + √D): any point
beyond that limit is not the nearest, and a few points of huge norm do no harm to the others. All
points within the limit are compared in float64. Where they may be more than the candidates that
FAISS returned, it is asked for more of them. So the answer is that of a comparison of all pairs
in float64, whatever the sizes of the blocks, the number of threads or the device. (A proposer
that does not look at all points gives no such proof; the nearest of what it proposes is then
taken.)

First, a sieve (pyrobust/analysis/sieve.py) determines which parts of the points may contain the
nearest one. FAISS searches those. Points are divided by their norms, so that outliers share a
part.
"""

import logging
from dataclasses import dataclass

import numpy as np
import torch

from pyrobust.analysis.candidates import (
    Neighbours,
    Proposer,
    Search,
    distinct_rows,
    keep_nearest,
    squared_distances,
)
from pyrobust.analysis.sieve import TILE, UNDERFLOW, Sieve, coarsest_type
from pyrobust.errors import UserError

logger = logging.getLogger(__name__)

_MOST_PARTS = 256  # of a block of points
_TRIED = 256  # queries that determine the precision of the sieve
_MOST_PASSING = 0.1  # of the parts, besides the one with the nearest point
_LARGEST_NORM = 2.0**60  # whose square is well within float32
_FIRST_CANDIDATES = 4  # as fast as two
_MORE_CANDIDATES = 8  # times as many in each further round
_MOST_CANDIDATES = 512  # beyond which all points are compared in float64
_VALUES = 1 << 18  # of pairs compared in float64 at once: little enough for the caches

_INEXACT = "the search is less exact than float32: TensorFloat-32 or a fault of the device"


@dataclass(frozen=True)
class _Queries:
    """Queries that are searched together."""

    values: np.ndarray  # (q, d) float32
    centred: np.ndarray  # (q, d) float32, around the centre of the points
    norms: np.ndarray  # (q,) of `centred`
    own: np.ndarray | None  # (q,) index of the point that each must not find


@dataclass(frozen=True)
class _Part:
    """Points of a block that have a search of their own."""

    start: int  # place of the first
    size: int
    search: Search


class PointBlock:
    """Points that are searched together. Equal ones are searched once, however many they are."""

    def __init__(self, points: np.ndarray, start: int, proposer: Proposer) -> None:
        places, second = distinct_rows(points)
        # Around their mean the norms are smallest, and with them the rounding error.
        self._centre = points[places].mean(axis=0, dtype=np.float64).astype(np.float32)
        norms = _norms(points - self._centre)[places]
        order = np.argsort(norms, kind="stable")
        places, second, self._norms = places[order], second[order], norms[order]
        self._points = points[places]
        self._start = start
        self._first = places + start
        self._second = np.where(second < 0, -1, second + start)
        # Of each row that has no copies.
        self._place_of_single = np.full(len(points), -1)
        self._place_of_single[places[second < 0]] = np.flatnonzero(second < 0)
        self._centred = self._points - self._centre
        self._largest_norm = float(self._norms[-1])
        self._unit_of_sums = (points.shape[1] + 16) * 2.0**-24
        self._complete = proposer.complete
        most = len(self._points)
        self._part_size = TILE * -(-most // (_MOST_PARTS * TILE)) if proposer.sieved else most
        self._parts = [
            _Part(first, min(self._part_size, most - first), proposer.build(points))
            for first in range(0, most, self._part_size)
            for points in [self._centred[first : first + self._part_size]]
        ]
        self._sieve: Sieve | None = None

    def search(self, values: np.ndarray, own: np.ndarray | None, found: Neighbours) -> None:
        """Write the nearest points of the queries (q, d) into `found` where they come before.

        Args:
            own: (q,) indices to leave out.
            found: what other blocks hold; written over by what comes before it.
        """
        centred = values - self._centre
        queries = _Queries(values, centred, _norms(centred), own)
        passing, bound = self._passing(queries, found)
        undecided = sum(
            self._search_part(part, queries, np.flatnonzero(holds_nearest), found)
            for part, holds_nearest in zip(self._parts, passing.T, strict=True)
        )
        if undecided:
            logger.info(f"{undecided} queries had many almost equal neighbours")
        if not (found.squared_distance <= bound).all():
            raise ArithmeticError(_INEXACT)

    def _passing(self, queries: _Queries, found: Neighbours) -> tuple[np.ndarray, np.ndarray]:
        """Return which parts may hold the nearest of each query, and how far it is at most."""
        count = len(queries.values)
        if len(self._parts) == 1:
            return np.ones((count, 1), bool), np.full(count, np.inf)
        own = self._own_places(queries)
        if self._sieve is None:
            some = slice(None, None, max(1, count // _TRIED))  # of all classes, where sorted
            self._sieve = self._choose_sieve(queries.centred[some], own[some])
        return self._sieve.passing(queries.centred, own, found.squared_distance)

    def _choose_sieve(self, queries: np.ndarray, own: np.ndarray) -> Sieve:
        """Return the fastest sieve that is fine enough for some queries (q, d)."""
        sieve = Sieve(self._centred, self._part_size, coarsest_type())
        if sieve.dtype != torch.float32:
            passing, _ = sieve.passing(queries, own, np.full(len(queries), np.inf))
            if passing.mean() - 1 / len(self._parts) > _MOST_PASSING:
                return Sieve(self._centred, self._part_size, torch.float32)
        return sieve

    def _own_places(self, queries: _Queries) -> np.ndarray:
        """Return the place of the only point that each query must not find, or -1, (q,).

        A query with copies finds one of them in its own place.
        """
        places = np.full(len(queries.values), -1)
        if queries.own is not None:
            row = queries.own - self._start
            here = (row >= 0) & (row < len(self._place_of_single))
            places[here] = self._place_of_single[row[here]]
        return places

    def _bound(
        self, norms: np.ndarray, approximate: np.ndarray, places: np.ndarray, index: np.ndarray
    ) -> np.ndarray:
        """Return D: how far the nearest of some points (q, k) is at most, (q,)."""
        error = self._error(norms[:, None], self._norms[places])
        bound: np.ndarray = np.where(index >= 0, approximate + error, np.inf).min(axis=1)
        return bound

    def _limit(self, norms: np.ndarray, bound: np.ndarray) -> np.ndarray:
        """Return the approximate distance that no point within `bound` (q,) exceeds, (q,)."""
        # A millionth more, since both vectors were rounded when they were centred.
        reach = (norms + np.sqrt(bound)) * (1 + 2.0**-20)
        limit: np.ndarray = bound + self._error(norms, np.minimum(reach, self._largest_norm))
        return limit

    def _error(self, norms: np.ndarray, of_points: np.ndarray) -> np.ndarray:
        """Return E, the largest error of approximate distances."""
        error: np.ndarray = self._unit_of_sums * (np.square(norms + of_points) + UNDERFLOW)
        return error

    def _search_part(
        self, part: _Part, queries: _Queries, waiting: np.ndarray, found: Neighbours
    ) -> int:
        """Write the nearest points in one part of the waiting queries where they are nearer.

        Returns:
            how many queries had to be compared with all points of the part.
        """
        count = _FIRST_CANDIDATES
        while waiting.size and count <= _MOST_CANDIDATES:
            # As many candidates at once as all queries have in the first round.
            at_once = max(1, len(queries.values) * _FIRST_CANDIDATES // count)
            pieces = np.split(waiting, range(at_once, waiting.size, at_once))
            waiting = np.concatenate(
                [
                    some[~self._compare_candidates(part, queries, some, count, found)]
                    for some in pieces
                ]
            )
            count *= _MORE_CANDIDATES
        for query in waiting.tolist():
            self._compare_all(part, queries, query, found)
        return waiting.size

    def _compare_candidates(
        self,
        part: _Part,
        queries: _Queries,
        waiting: np.ndarray,
        count: int,
        found: Neighbours,
    ) -> np.ndarray:
        """Settle queries with `count` candidates, and return which waiting queries are settled."""
        count = min(count, part.size)
        approximate, places = part.search(queries.centred[waiting], count)
        places = np.where(places < 0, -1, part.start + places)
        index = self._indices(queries, waiting, places)
        norms = queries.norms[waiting]
        bound = self._bound(norms, approximate, places, index)
        limit = self._limit(norms, np.minimum(bound, found.squared_distance[waiting]))
        all_seen = count == part.size or not self._complete
        settled: np.ndarray = (approximate[:, -1] > limit) | all_seen
        possible = (index >= 0) & (approximate <= limit[:, None]) & settled[:, None]
        row, column = np.nonzero(possible)
        query = waiting[row]
        place = places[row, column]
        distance = self._distances(queries, query, place)
        error = self._error(norms[row], self._norms[place])
        if not (np.abs(distance - approximate[row, column]) <= error).all():
            raise ArithmeticError(_INEXACT)
        keep_nearest(found, query, distance, index[row, column])
        return settled

    def _compare_all(self, part: _Part, queries: _Queries, query: int, found: Neighbours) -> None:
        """Settle one query by comparing all points of a part in float64."""
        places = np.arange(part.start, part.start + part.size)
        index = self._indices(queries, np.array([query]), places[None])[0]
        places, index = places[index >= 0], index[index >= 0]
        same = np.full(len(places), query)
        keep_nearest(found, same, self._distances(queries, same, places), index)

    def _indices(
        self, queries: _Queries, some: np.ndarray | slice, places: np.ndarray
    ) -> np.ndarray:
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
        at_once = max(1, _VALUES // self._points.shape[1])
        for start in range(0, len(query), at_once):
            pairs = slice(start, start + at_once)
            points = self._points[place[pairs]]
            distance[pairs] = squared_distances(queries.values[query[pairs]], points)
        return distance


def _norms(rows: np.ndarray) -> np.ndarray:
    """Return Euclidean norms in float64, (n,), rounded up: they enter a bound.

    Raises:
        UserError: a norm is so large that its square leaves the range of float32.
    """
    squares = np.einsum("ij,ij->i", rows, rows).astype(np.float64)
    norms: np.ndarray = np.sqrt(squares) * (1 + rows.shape[1] * 2.0**-23)
    if not (norms < _LARGEST_NORM).all():
        raise UserError(
            f"features of norm {norms.max():.3g} are too large for the search (the limit is "
            f"{_LARGEST_NORM:.3g}); check the extractor"
        )
    return norms

"""The nearest points found so far, ordered by (distance in float64, index)."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Neighbours:
    """The nearest point of each query; the lowest index among equals."""

    index: np.ndarray  # (n,) int64, -1 where there is no point
    squared_distance: np.ndarray  # (n,) float64, infinite where there is no point

    def part(self, rows: slice) -> "Neighbours":
        """Return a view of some queries."""
        return Neighbours(self.index[rows], self.squared_distance[rows])

    @property
    def distance(self) -> np.ndarray:
        """Euclidean distances, (n,) float64."""
        result: np.ndarray = np.sqrt(self.squared_distance)
        return result


def squared_distances(queries: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return |queries[i] - points[i]|² in float64; this is the distance that decides."""
    # In C order, whatever the input: the order of the sum is part of the definition.
    difference = queries.astype(np.float64, order="C") - points
    result: np.ndarray = np.square(difference).sum(axis=-1)
    return result


def keep_nearest(
    found: Neighbours, query: np.ndarray, distance: np.ndarray, index: np.ndarray
) -> None:
    """Write the first pair of each query by (distance, index) where it comes before `found`."""
    order = np.lexsort((index, distance, query))
    _, firsts = np.unique(query[order], return_index=True)
    best = order[firsts]
    query, distance, index = query[best], distance[best], index[best]
    known, held = found.index[query], found.squared_distance[query]
    before = (distance < held) | ((distance == held) & (index < known))
    found.index[query[before]] = index[before]
    found.squared_distance[query[before]] = distance[before]

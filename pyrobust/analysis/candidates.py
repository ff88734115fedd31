"""Candidates for nearest neighbours: proposed in float32, compared in float64.

FAISS brings its own OpenMP, which must not meet a fork: it is imported on first use, by the
stages that search, and no process of theirs starts others.
"""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrobust.ops import choose_device


@dataclass(frozen=True)
class Neighbours:
    """The nearest point of each query; the lowest index among equals."""

    index: np.ndarray  # (n,) int64, -1 if there is no point
    squared_distance: np.ndarray  # (n,) float64, infinite if there is no point

    @classmethod
    def none(cls, count: int) -> "Neighbours":
        """Return `count` queries for which nothing was found yet."""
        return cls(np.full(count, -1, np.int64), np.full(count, np.inf))

    def part(self, rows: slice | np.ndarray) -> "Neighbours":
        """Return some queries: a view where `rows` is a slice."""
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


def exhaustive(device: torch.device | None = None) -> Proposer:
    """Compare all pairs: by FAISS on the CPU, by torch on a GPU.

    Args:
        device: the GPU where there is one, if not given.
    """
    device = device or choose_device()
    if device.type == "cpu":
        faiss = _faiss()
        return Proposer(
            lambda points: lambda queries, k: faiss.knn(queries, points, k),
            complete=True,
            sieved=True,
        )
    return Proposer(lambda points: TorchSearch(points, device), complete=True, sieved=False)


class TorchSearch:
    """Compare all pairs by products of matrices in float32, as `exhaustive` does on a GPU.

    Squared distances are |q|² + |y|² - 2<q, y>, so pyrobust/analysis/point_block.py bounds their
    error. TensorFloat-32 is off.

    Args:
        points: (n, d) float32; they stay on the device where they take less than half of its free
            memory, else they are copied to it in pieces for each batch of queries.
        products: of a query and a point that are held at once, 4 bytes each.
    """

    def __init__(self, points: np.ndarray, device: torch.device, products: int = 1 << 27) -> None:
        held = torch.from_numpy(points)
        if held.nbytes < _free_bytes(device) // 2:
            held = held.to(device)
        self._points, self._device = held, device
        products = max(1, min(products, _free_bytes(device) // 16))
        self._queries_at_once = min(QUERIES_AT_ONCE, products)
        self._points_at_once = max(1, products // self._queries_at_once)

    def __call__(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return squared distances (q, k), ascending, and places (q, k) among the points."""
        pieces = torch.split(torch.from_numpy(queries), self._queries_at_once)
        with _full_precision():
            found = [self._nearest(piece.to(self._device), k) for piece in pieces]
        distances, places = (torch.cat(column).cpu().numpy() for column in zip(*found, strict=True))
        return distances, places

    def _nearest(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        distances = queries.new_empty(len(queries), 0)
        places = torch.empty(len(queries), 0, dtype=torch.int64, device=self._device)
        for start in range(0, len(self._points), self._points_at_once):
            points = self._points[start : start + self._points_at_once].to(self._device)
            block = torch.addmm(points.square().sum(1), queries, points.T, alpha=-2)
            near, place = block.topk(min(k, len(points)), largest=False)
            distances, order = torch.cat([distances, near], 1).sort(stable=True)
            places = torch.cat([places, place + start], 1).gather(1, order)[:, :k]
            distances = distances[:, :k]
        return distances + queries.square().sum(1, keepdim=True), places


@contextmanager
def _full_precision() -> Iterator[None]:
    """Multiply matrices in IEEE float32 for the block."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _free_bytes(device: torch.device) -> int:
    """Return the memory that a GPU has free; a quarter of a gigabyte of the host's."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 1 << 28


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
    """Return whether an exhaustive search runs on a GPU."""
    return choose_device().type == "cuda"


def _faiss() -> Any:
    """Import FAISS without its report on vector instructions."""
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
    import faiss

    return faiss

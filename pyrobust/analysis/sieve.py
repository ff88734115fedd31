"""A sieve before the search: low-precision products rule out points that cannot be nearest.

Distances are squared ones here. With q̂ and ŷ for q and y rounded to the type of the sieve, whose
unit is u, it computes

    v(y) = |y|² - 2<q̂, ŷ>,    so that    |q|² + v(y) ≈ |q - y|².

The rounding of the factors moves the product by <q - q̂, ŷ> + <q, y - ŷ>, and that of the result
moves it by u |v|. All that is done in float32 (sums in any order, Higham 2002, section 3.1, |q|²
and the pieces of |y|², the centring of both vectors, this bound itself) moves it by less than
(2d + 16) 2⁻²⁴ (|q| + |y|)², and products that are too small for the type by less than a constant:

    E = 2 (|q - q̂| |ŷ| + |q| |y - ŷ|) + u |v| (1 + 2u) + (2d + 16) 2⁻²⁴ ((|q| + |y|)² + 2⁻¹⁰⁰).

In float32 the factors are not rounded, and the result is with the sums: q̂ = q, ŷ = y, u = 0.

Points are sieved in parts. With the largest norms of a part in E, |q|² + min v - E is no more than
the distance of any point of it, and |q|² + min v + E no less than that of its nearest one. So the
nearest of all lies at D, the least of the latter, or nearer, and a part whose former is more than
D does not hold it. bfloat16 has eight bits: of vectors like projected features, two parts in a
hundred pass, at less than half the time of products in float32. If points are too close together
for its precision, too many pass, and float32 is the better sieve.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

_ROWS, TILE = 4096, 512  # products held at once: 8 MB in float32, which caches hold
_PIECES = 3  # of eight bits, which hold the 24 of a float32
_NONE = 2.0**126  # the square of a place without point, more than any and still finite
_UPWARD = 1 + 2.0**-20  # more than what a norm loses when it is rounded
UNDERFLOW = 2.0**-100  # in E: some processors take what is below 2⁻¹²⁶ for zero


class Sieve:
    """Tells which parts of some points may hold the nearest of a query.

    Args:
        points: (n, d) float32; those of a part have like norms, or its bounds are wide.
        part_size: points of a part, a multiple of TILE.
        dtype: bfloat16 or float32.
    """

    def __init__(self, points: np.ndarray, part_size: int, dtype: torch.dtype) -> None:
        count, dimensions = points.shape
        self.num_parts = -(-count // part_size)
        self.dtype = dtype
        self._unit = 0.0 if dtype == torch.float32 else torch.finfo(dtype).eps / 2
        self._unit_of_sums = (2 * dimensions + 16) * 2.0**-24
        self._tiles_of_part = part_size // TILE
        tiles = -(-count // TILE)
        # -2ŷ and |y|², which meet q̂ and ones.
        self._factors = torch.zeros(tiles * TILE, dimensions + _PIECES, dtype=dtype)
        self._factors[count:, dimensions] = _NONE
        self._norms, self._lost = torch.zeros(2, self.num_parts)  # the largest |y| and |y - ŷ|
        for tile, first in enumerate(range(0, count, TILE)):
            rows = torch.from_numpy(points[first : first + TILE])
            factors = self._factors[first : first + len(rows)]
            rounded = rows.to(dtype)
            factors[:, :dimensions] = -2 * rounded
            squares = _squares(rows)
            lost = _norms(_squares(rows - rounded))
            part = tile // self._tiles_of_part
            self._norms[part] = torch.maximum(self._norms[part], _norms(squares).max())
            self._lost[part] = torch.maximum(self._lost[part], lost.max())
            for piece in range(dimensions, dimensions + _PIECES):
                factors[:, piece] = squares
                squares -= factors[:, piece]

    def passing(
        self, queries: np.ndarray, own: np.ndarray, known: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return which parts may hold the nearest, (q, parts) bool, and D, (q,) float64.

        Args:
            queries: (q, d) float32.
            own: (q,) place of the point that a query must not find, or -1.
            known: (q,) squared distance of the best point known for each query, or infinite.
        """
        passing = np.empty((len(queries), self.num_parts), bool)
        bound = np.empty(len(queries))
        for first in range(0, len(queries), _ROWS):
            here = slice(first, first + _ROWS)
            rows = torch.from_numpy(queries[here])
            lower, upper = self._bounds(rows, torch.from_numpy(own[here]))
            bound[here] = upper.amin(1).numpy()
            reach = torch.from_numpy(np.minimum(bound[here], known[here]))
            passing[here] = (lower <= reach[:, None]).numpy()
        return passing, bound

    def _bounds(self, rows: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """Return between which squared distances the nearest of each part lies, (q, parts)."""
        factors = rows.new_ones(len(rows), rows.shape[1] + _PIECES, dtype=self.dtype)
        rounded = factors[:, : rows.shape[1]]
        rounded.copy_(rows)
        least = torch.full((len(rows), self.num_parts), torch.inf, dtype=self.dtype)
        for number, products in enumerate(self._products(factors, own)):
            column = least[:, number // self._tiles_of_part]
            torch.minimum(column, products.amin(1), out=column)
        pieces = list(zip(torch.split(rows, TILE), torch.split(rounded, TILE), strict=True))
        squares = torch.cat([_squares(piece) for piece, _ in pieces])[:, None]
        lost = _norms(torch.cat([_squares(piece - other) for piece, other in pieces]))[:, None]
        norms, values = _norms(squares), least.float()
        error = 2 * (lost * (self._norms + self._lost) + norms * self._lost)
        error += self._unit * (1 + 2 * self._unit) * values.abs()
        error += self._unit_of_sums * ((norms + self._norms).square() + UNDERFLOW)
        values += squares.float()
        none = torch.tensor(torch.inf)
        return values - error, torch.where(values < _NONE / 2, values + error, none)

    def _products(self, factors: Tensor, own: Tensor) -> Iterator[Tensor]:
        """Yield v of each query and the points of each tile, (q, TILE)."""
        held = factors.new_empty(len(factors), TILE)
        order = own.argsort()
        starts = torch.arange(0, len(self._factors) + 1, TILE)
        ends = torch.searchsorted(own[order], starts).tolist()
        for tile, (first, last) in enumerate(pairwise(ends)):
            torch.mm(factors, self._factors[tile * TILE :][:TILE].T, out=held)
            if first < last:
                some = order[first:last]
                held[some, own[some] - tile * TILE] = _NONE
            yield held


def coarsest_type() -> torch.dtype:
    """Return bfloat16 where the processor multiplies it by itself, else float32."""
    able = torch.cpu.get_capabilities()
    names = ("amx_bf16", "avx512_bf16")
    return torch.bfloat16 if any(able.get(name) for name in names) else torch.float32


def _squares(rows: Tensor) -> Tensor:
    """Return squared norms in float64, (n,)."""
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)
    return norms.square()


def _norms(squares: Tensor) -> Tensor:
    """Return the roots in float32, (n,), rounded up: they enter a bound."""
    return squares.sqrt().float() * _UPWARD

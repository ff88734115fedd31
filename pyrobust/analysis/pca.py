"""PCA of features in float64, reproducible for any number of threads (appendix D)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pyrobust.errors import UserError


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let NumPy's matrix routines run on one thread for the block.

    With more they sum in another order, and a result would depend, in its last digits, on the
    cores that a job was given. Other threads, such as those of FAISS, are for outside the block.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield


# Rows that are multiplied at once. Every product has this many (a last block is filled up with
# zeros), so that equal rows have equal projections at any position.
_BLOCK = 1024

# Up to this many dimensions the covariance matrix is decomposed as it is (128 MiB).
MAX_EXACT_DIMENSIONS = 4096

_OVERSAMPLING = 50
_ITERATIONS = 6


class FeatureRows(Protocol):
    """Features of shape (n, D) that are read piece by piece, such as an array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows and of dimensions."""

    def __getitem__(self, piece: slice, /) -> np.ndarray:
        """Return rows in order, (n, D)."""


@dataclass(frozen=True)
class Pca:
    """Principal components of features."""

    mean: np.ndarray  # (D,)
    components: np.ndarray  # (k, D), orthonormal rows, by falling variance
    explained_variance: np.ndarray  # (k,) shares of the whole variance

    def project(self, rows: FeatureRows) -> Iterator[np.ndarray]:
        """Yield the projections of `rows` block by block, (n, k) float32."""
        for block, count in _blocks(rows, self.mean):
            yield (block @ self.components.T)[:count].astype(np.float32)


def fit_pca(sources: Sequence[FeatureRows], components: int, seed: int) -> Pca:
    """Fit the components with the largest variances over all rows of `sources`.

    Up to MAX_EXACT_DIMENSIONS the covariance matrix is decomposed; wider features (LPIPS) go
    through subspace iteration with a Rayleigh-Ritz step (Halko et al. 2011), which holds a block
    of rows and a few times `components` + 50 vectors of D values, and no matrix of D × D.

    Args:
        sources: features, each (n, D), n in all at least 2.
        components: fewer are returned where the rows span fewer dimensions.
        seed: of the random start of the subspace iteration.

    Raises:
        UserError: all rows are equal.
    """
    dimensions = sources[0].shape[1]
    count = sum(source.shape[0] for source in sources)
    mean = _mean(sources, count)
    most = min(components, dimensions, count - 1)
    if dimensions <= MAX_EXACT_DIMENSIONS:
        variances, vectors = _largest(_covariance(sources, mean), most)
    else:
        basis = _dominant_subspace(sources, mean, min(most + _OVERSAMPLING, dimensions), seed)
        variances, within = _largest(_covariance(sources, mean, basis), most)
        vectors = basis @ within
    # Directions without variance are arbitrary, and new data may well differ along them.
    spanned = variances > dimensions * np.finfo(np.float64).eps * variances[0]
    if not spanned.any():
        raise UserError(
            f"all {count} original images have the same features; check that the extractor is a "
            "trained network"
        )
    shares = variances[spanned] / _total_variance(sources, mean)
    return Pca(mean, _with_fixed_signs(vectors[:, spanned].T), shares)


def _blocks(rows: FeatureRows, mean: np.ndarray | float) -> Iterator[tuple[np.ndarray, int]]:
    """Yield (centred rows in float64, filled up to _BLOCK with zeros; number of rows)."""
    for first in range(0, rows.shape[0], _BLOCK):
        piece = rows[first : first + _BLOCK]
        block = np.zeros((_BLOCK, rows.shape[1]))
        block[: len(piece)] = piece
        block[: len(piece)] -= mean
        yield block, len(piece)


def _centred(sources: Sequence[FeatureRows], mean: np.ndarray | float) -> Iterator[np.ndarray]:
    return (block for source in sources for block, _ in _blocks(source, mean))


def _mean(sources: Sequence[FeatureRows], count: int) -> np.ndarray:
    total = np.zeros(sources[0].shape[1])
    for block in _centred(sources, 0.0):
        total += block.sum(axis=0)
    return total / count


def _total_variance(sources: Sequence[FeatureRows], mean: np.ndarray) -> float:
    return float(sum(np.square(block).sum() for block in _centred(sources, mean)))


def _largest(symmetric: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the `count` largest eigenvalues, falling, and their vectors as columns."""
    values, vectors = np.linalg.eigh(symmetric)
    return values[::-1][:count], vectors[:, ::-1][:, :count]


def _covariance(
    sources: Sequence[FeatureRows], mean: np.ndarray, basis: np.ndarray | None = None
) -> np.ndarray:
    """Return XᵀX, X being all centred rows, or the same within `basis` (D, l) as (l, l)."""
    size = sources[0].shape[1] if basis is None else basis.shape[1]
    product = np.zeros((size, size))
    for block in _centred(sources, mean):
        within = block if basis is None else block @ basis
        product += within.T @ within
    return product


def _dominant_subspace(
    sources: Sequence[FeatureRows], mean: np.ndarray, size: int, seed: int
) -> np.ndarray:
    """Return an orthonormal basis (D, size) close to the leading eigenvectors of XᵀX."""
    random = np.random.Generator(np.random.PCG64(seed))
    basis, _ = np.linalg.qr(random.standard_normal((sources[0].shape[1], size)))
    for _ in range(_ITERATIONS):
        product = np.zeros(basis.shape)
        for block in _centred(sources, mean):
            product += block.T @ (block @ basis)
        basis, _ = np.linalg.qr(product)
    return basis


def _with_fixed_signs(components: np.ndarray) -> np.ndarray:
    """Make the entry of largest size of each component positive (the first among equals)."""
    largest = np.abs(components).argmax(axis=1)
    signs = np.sign(components[np.arange(len(components)), largest])
    fixed: np.ndarray = components * signs[:, None]
    return fixed

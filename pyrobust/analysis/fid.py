"""Fréchet distance of two sets of features, from sums alone (Heusel et al. 2017)."""

from dataclasses import dataclass

import numpy as np

from pyrobust.analysis.pca import FeatureRows
from pyrobust.errors import UserError

_BLOCK = 1024


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of features, in float64."""

    count: int
    mean: np.ndarray  # (D,)
    covariance: np.ndarray  # (D, D), divided by count - 1


def moments(rows: FeatureRows) -> Moments:
    """Return the moments of `rows` (n, D), read block by block.

    Sums of equal blocks are merged pair by pair (Chan et al. 1979), which loses no digits where
    the mean is large, and does not depend on how the rows are stored. At least two rows.
    """
    count, dimensions = 0, rows.shape[1]
    mean, scatter = np.zeros(dimensions), np.zeros((dimensions, dimensions))
    for first in range(0, rows.shape[0], _BLOCK):
        block = rows[first : first + _BLOCK].astype(np.float64)
        block_mean = block.mean(axis=0)
        block -= block_mean
        difference = block_mean - mean
        merged = count + len(block)
        scatter += block.T @ block
        scatter += np.outer(difference, difference) * (count * len(block) / merged)
        mean += difference * (len(block) / merged)
        count = merged
    return Moments(count, mean, scatter / (count - 1))


def frechet_distance(one: Moments, other: Moments) -> float:
    """Return |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½), never below 0 by rounding.

    The trace of the last term is that of (C1^½ C2 C1^½)^½, which is symmetric: two symmetric
    eigendecompositions, without complex numbers and without jitter on singular covariances.

    Raises:
        UserError: some features are not finite.
    """
    parts = (one.mean, one.covariance, other.mean, other.covariance)
    if not all(np.isfinite(part).all() for part in parts):
        raise UserError("features are not finite; check the weights of the extractor")
    difference = one.mean - other.mean
    values, vectors = np.linalg.eigh(one.covariance)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    product = np.linalg.eigvalsh(root @ other.covariance @ root)
    trace = np.trace(one.covariance) + np.trace(other.covariance)
    distance = difference @ difference + trace - 2 * np.sqrt(product.clip(min=0)).sum()
    return max(0.0, float(distance))

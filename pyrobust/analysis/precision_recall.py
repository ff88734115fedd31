"""Precision, recall, density and coverage of generated images.

A set's manifold is the union of balls around its images, each reaching to the image's k-th
nearest neighbour in the same set (Kynkäänniemi et al. 2019; density and coverage: Naeem et al.
2020). This coverage is another one than Algorithm 1's."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

_BLOCK = 1024


@dataclass(frozen=True)
class ManifoldScores:
    """Shares in [0, 1], but density, which is a mean count over k and may exceed 1."""

    precision: float  # generated images inside some ball of an original one
    recall: float  # original images inside some ball of a generated one
    density: float  # balls of original images that a generated one lies in, divided by k
    coverage: float  # original images with a generated one in their ball
    original_copies: int = 0  # original images whose ball has radius 0: k others are the same
    generated_copies: int = 0  # generated ones

    def to_json(self) -> dict[str, float]:
        """Return the scores by name."""
        scores = asdict(self)
        return {name: scores[name] for name in ("precision", "recall", "density", "coverage")}

    def notes(self, k: int) -> list[str]:
        """Return what keeps the scores from meaning what they say."""
        kinds = {"original": self.original_copies, "generated": self.generated_copies}
        return [
            f"{count:,} {kind} images have {k} copies in their own set: nothing lies in their "
            "balls of radius 0, which lowers precision, recall, density and coverage"
            for kind, count in kinds.items()
            if count
        ]


def manifold_scores(original: np.ndarray, generated: np.ndarray, k: int) -> ManifoldScores:
    """Compare two sets of features, (n, D) and (m, D), each of more than k rows."""
    # Around the mean the squares are smallest, and with them what their difference loses.
    mean = original.mean(axis=0, dtype=np.float64)
    original, generated = original - mean, generated - mean
    original_radii, generated_radii = _radii(original, k), _radii(generated, k)
    balls = np.zeros(len(generated), np.int64)
    recalled = np.zeros(len(original), bool)
    nearest = np.empty(len(original))
    for here, distances in _squared_distances(original, generated):
        balls += (distances < original_radii[here, None]).sum(axis=0)
        recalled[here] = (distances < generated_radii).any(axis=1)
        nearest[here] = distances.min(axis=1)
    return ManifoldScores(
        precision=float(np.mean(balls > 0)),
        recall=float(recalled.mean()),
        density=float(balls.mean() / k),
        coverage=float(np.mean(nearest < original_radii)),
        original_copies=_zero(original_radii, original),
        generated_copies=_zero(generated_radii, generated),
    )


def _zero(radii: np.ndarray, rows: np.ndarray) -> int:
    """Return how many squared radii are 0 but for the rounding of float32."""
    largest = np.einsum("ij,ij->i", rows, rows)
    return int((radii <= 4 * np.finfo(np.float32).eps * largest).sum())


def _radii(rows: np.ndarray, k: int) -> np.ndarray:
    """Return the squared distance of each row to its k-th nearest other row, (n,)."""
    radii = np.empty(len(rows))
    for here, distances in _squared_distances(rows, rows):
        distances[np.arange(len(distances)), np.arange(here.start, here.stop)] = np.inf
        radii[here] = np.partition(distances, k - 1, axis=1)[:, k - 1]
    return radii


def _squared_distances(rows: np.ndarray, others: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield (which rows, their squared distances (b, m) to all others) block by block."""
    norms = np.einsum("ij,ij->i", others, others)
    for first in range(0, len(rows), _BLOCK):
        here = slice(first, min(first + _BLOCK, len(rows)))
        block = rows[here]
        own = np.einsum("ij,ij->i", block, block)
        yield here, np.maximum(own[:, None] + norms - 2 * (block @ others.T), 0)

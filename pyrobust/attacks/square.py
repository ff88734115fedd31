"""Square: a random search that uses the logits and no gradient.

Andriushchenko et al. 2020, "Square Attack: a query-efficient black-box adversarial attack via
random search". Each image draws its own squares, by (seed, sample id, query).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrobust import ops
from pyrobust.attacks.network_passes import LogitsFn
from pyrobust.attacks.square_corners import CornerSquares, start_stripes
from pyrobust.attacks.square_windows import move_windows, start_windows
from pyrobust.attacks.threat_model import ThreatModel, WorstPoints, is_broken

# Queries after which the share of pixels that a square covers is halved (Section 5).
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
# Share of the pixels that the first squares cover.
_FIRST_SHARE = 0.8
# Smallest side of a window in l2 and l1.
_SMALLEST_WINDOW = 3


@dataclass(frozen=True)
class SquareSettings:
    """Number of queries after the starting point."""

    threat: ThreatModel
    num_queries: int = 5000

    def phases(self) -> Iterator[tuple[int, float]]:
        """Yield (number of queries, share of pixels that a square covers)."""
        first, share = 0, _FIRST_SHARE
        for last in (*_HALVINGS, self.num_queries):
            end = min(last + 1, self.num_queries)
            if end > first:
                yield end - first, share
                first = end
            share /= 2

    def side(self, share: float, height: int, width: int) -> int:
        """Return the side of squares that cover a share of the pixels; odd for l2 and l1."""
        side = round(math.sqrt(share * height * width))
        side = max(side, 1) if self.threat.norm == "linf" else max(side, _SMALLEST_WINDOW) | 1
        return min(side, height, width)


def square(
    logits_fn: LogitsFn,
    x: Tensor,
    labels: Tensor,
    sample_ids: Tensor,
    settings: SquareSettings,
    seed: int,
) -> Tensor:
    """Return the worst point visited for each image, of the shape of x.

    That is its first misclassified point, else the one of the lowest margin.

    Args:
        x: (N, C, H, W) in [0, 1].
        labels: (N,) int64.
        sample_ids: (N,) int64; (seed, sample id, query) name the squares.
    """
    search = _Search(logits_fn, x, labels, settings.threat)
    linf = settings.threat.norm == "linf"
    start = (start_stripes if linf else start_windows)(x, sample_ids, settings.threat, seed)
    search.query(search.worst.standing(), start)
    _, channels, height, width = x.shape
    for number, (num_queries, share) in enumerate(settings.phases(), 1):
        rows = search.worst.standing()
        if not len(rows):
            break
        shape = (num_queries, 2 + channels if linf else 5 + channels)
        draws = ops.uniform(sample_ids[rows], shape, seed, number)
        side = settings.side(share, height, width)
        (search.try_corners if linf else search.try_windows)(rows, draws, side)
    return search.worst.x_adv


class _Search:
    """The worst points of images x (N, C, H, W), and the queries that look for worse ones."""

    def __init__(self, logits_fn: LogitsFn, x: Tensor, labels: Tensor, threat: ThreatModel) -> None:
        self.worst = WorstPoints(x)
        self._logits_fn, self._x, self._labels, self._threat = logits_fn, x, labels, threat

    def query(self, rows: Tensor, points: Tensor) -> Tensor:
        """Keep the points (n, C, H, W) that are worse, and return which are, (n,) bool.

        Args:
            rows: (n,), indices of images that stand.
        """
        with torch.no_grad():
            logits = self._logits_fn(points)
        loss, _ = ops.margin(logits, self._labels[rows])
        broken = is_broken(logits, self._labels[rows])
        worse = broken | (loss > self.worst.loss[rows])
        self.worst.update(rows, points, loss, broken)
        return worse

    def try_corners(self, rows: Tensor, draws: Tensor, side: int) -> None:
        """Set one square after another to a corner of the linf ball (Algorithm 2).

        A square that changes nothing, or that was refused since the worst point was found, cannot
        lower the margin: it counts as a query without a network pass. Images meet such squares at
        different queries; each goes on to its next one, so that passes stay full.

        Args:
            rows: (n,), indices of images that stand.
            draws: (n, queries, 2 + C), uniform in [0, 1).
        """
        squares = CornerSquares(self._x[rows], self._threat, draws, side)
        while True:
            here = squares.advance(~self.worst.broken[rows])
            if here is None:
                return
            best = self.worst.x_adv[rows[here]]
            points = squares.points(here, best)
            changed = torch.nonzero((points != best).flatten(1).any(1))[:, 0]
            if len(changed):
                here = here[changed]
                worse = self.query(rows[here], points[changed])
                squares.forget(here[worse])

    def try_windows(self, rows: Tensor, draws: Tensor, side: int) -> None:
        """Move the perturbation of one window after another (Algorithm 3).

        Args:
            rows: (n,), indices of images that stand.
            draws: (n, queries, 5 + C), uniform in [0, 1).
        """
        for of_query in draws.unbind(1):
            here = torch.nonzero(~self.worst.broken[rows])[:, 0]
            if not len(here):
                return
            standing = rows[here]
            x, best = self._x[standing], self.worst.x_adv[standing]
            self.query(standing, move_windows(x, best, of_query[here], side, self._threat))

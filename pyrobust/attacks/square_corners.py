"""Moves of Square in linf: a square is set to a corner of the ball.

Andriushchenko et al. 2020, Algorithm 2 and Section 4.3.
"""

import torch
from torch import Tensor

from pyrobust import ops
from pyrobust.attacks.threat_model import ThreatModel

# Queries of an image that are looked through at once for a square that was not tried.
_AHEAD = 32
# Squares are remembered where there are at most this many for each query; they rarely recur among
# more.
_SQUARES_PER_QUERY = 16


def place(draws: Tensor, count: int) -> Tensor:
    """Return integers uniform in [0, count) from numbers uniform in [0, 1)."""
    return (draws * count).long().clamp_max(count - 1)


def start_stripes(x: Tensor, sample_ids: Tensor, threat: ThreatModel, seed: int) -> Tensor:
    """Return x (N, C, H, W) with vertical stripes of random sign."""
    up = ops.uniform(sample_ids, (x.shape[1], 1, x.shape[3]), seed) < 0.5
    low, high = _box(x, threat)
    return torch.where(up, high, low)


def _box(x: Tensor, threat: ThreatModel) -> tuple[Tensor, Tensor]:
    """Return the smallest and the largest pixels of the ball."""
    return (x - threat.epsilon).clamp_min(0), (x + threat.epsilon).clamp_max(1)


class CornerSquares:
    """Squares of one size, a number of them for each of n images, which each counts by itself.

    Args:
        x: (n, C, H, W).
        draws: (n, queries, 2 + C), uniform in [0, 1): the place of a square and its signs.
    """

    def __init__(self, x: Tensor, threat: ThreatModel, draws: Tensor, side: int) -> None:
        count, channels, height, width = x.shape
        places = height - side + 1, width - side + 1
        self._low, self._high = _box(x, threat)
        self._top, self._left = place(draws[..., 0], places[0]), place(draws[..., 1], places[1])
        self._up, self._side = draws[..., 2:] < 0.5, side
        self._next = torch.zeros(count, dtype=torch.int64, device=x.device)
        # Squares by number: place and signs.
        signs = (self._up << torch.arange(channels, device=x.device)).sum(-1)
        self._number = ((self._top * places[1] + self._left) << channels) + signs
        num_squares = places[0] * places[1] << channels
        self._remembers = num_squares <= _SQUARES_PER_QUERY * draws.shape[1]
        shape = (count, num_squares if self._remembers else 0)
        self._tried = torch.zeros(shape, dtype=torch.bool, device=x.device)

    def advance(self, standing: Tensor) -> Tensor | None:
        """Go on to the next square of each image that was not tried; None: there are none left.

        Args:
            standing: (n,) bool, which images still take part.

        Returns:
            The images that have one, (m,) int64.
        """
        num_queries = self._number.shape[1]
        here = torch.nonzero(standing & (self._next < num_queries))[:, 0]
        if not len(here):
            return None
        steps = torch.arange(_AHEAD if self._remembers else 1, device=here.device)
        ahead = self._next[here, None] + steps
        fresh = ahead < num_queries
        if self._remembers:
            number = self._number[here[:, None], ahead.clamp_max(num_queries - 1)]
            fresh = fresh & ~self._tried[here[:, None], number]
        found = fresh.any(1)
        self._next[here] += torch.where(found, fresh.byte().argmax(1) + 1, len(steps))
        here = here[found]
        if self._remembers:
            self._tried[here, self._number[here, self._next[here] - 1]] = True
        return here

    def points(self, here: Tensor, best: Tensor) -> Tensor:
        """Return `best` (m, C, H, W) with the present squares of images `here` (m,)."""
        query = self._next[here] - 1
        height, width = best.shape[2:]
        down = _within(self._top[here, query], self._side, height)
        across = _within(self._left[here, query], self._side, width)
        up = self._up[here, query][:, :, None, None]
        corner = torch.where(up, self._high[here], self._low[here])
        return torch.where(down[:, None, :, None] & across[:, None, None, :], corner, best)

    def forget(self, here: Tensor) -> None:
        """Let the images `here` (m,) try all squares again: their points have changed."""
        self._tried[here] = False


def _within(first: Tensor, side: int, length: int) -> Tensor:
    """Return which of `length` places lie in intervals of length `side`, (n, length) bool."""
    offset = torch.arange(length, device=first.device) - first[:, None]
    return (offset >= 0) & (offset < side)

"""Minima of linear functions over the images of a ball that lie in [0, 1]."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pyrobust.certificates.interval import Bounds
from pyrobust.config.fields import Norm

_BISECTIONS = 40


@dataclass(frozen=True)
class Region:
    """The images within `epsilon` of x (N, C, H, W) float64 that lie in [0, 1]."""

    x: Tensor
    norm: Norm
    epsilon: float

    @property
    def box(self) -> Bounds:
        """The smallest box that contains the region."""
        lower, upper = self.x - self.epsilon, self.x + self.epsilon
        return Bounds(lower.clamp(0, 1), upper.clamp(0, 1))

    def least(self, weights: Tensor) -> Tensor:
        """Return a lower bound of the sum of weights * x', (N, S).

        It is the better one of the bounds over the ball and over the box.

        Args:
            weights: (N, S, C, H, W).
        """
        a, box = weights.flatten(2), self.box
        low, high = box.lower.flatten(1)[:, None], box.upper.flatten(1)[:, None]
        over_box = (a.clamp_min(0) * low + a.clamp_max(0) * high).sum(2)
        if self.norm == "linf":
            return over_box
        dual = a.norm(dim=2) if self.norm == "l2" else a.abs().amax(2)
        over_ball = (a * self.x.flatten(1)[:, None]).sum(2) - self.epsilon * dual
        return torch.maximum(over_box, over_ball)

    def least_exact(self, weights: Tensor) -> Tensor:
        """Return the minimum over the region itself, to rounding, and never more than that.

        l1: pixels of the largest weights move first, each as far as [0, 1] lets it. l2: any
        multiplier of the constraint gives a lower bound (weak duality), and bisection finds the
        best one.
        """
        if self.norm == "linf":
            return self.least(weights)
        a, x = weights.flatten(2), self.x.flatten(1)[:, None]
        room = torch.where(a > 0, x, 1 - x)  # downhill
        there = (a * x).sum(2)
        if self.norm == "l1":
            gains, order = a.abs().sort(dim=2, descending=True)
            rooms = room.expand_as(a).gather(2, order)
            before = rooms.cumsum(2) - rooms
            moved = torch.minimum(rooms, (self.epsilon - before).clamp_min(0))
            return there - (gains * moved).sum(2)
        high = (a.norm(dim=2) / (2 * self.epsilon)).clamp_min(1e-30)
        low, best = high * 2.0**-30, self.least(weights)
        for _ in range(_BISECTIONS):
            multiplier = (low * high).sqrt()
            move = torch.minimum(a.abs() / (2 * multiplier[..., None]), room)
            squares = move.square().sum(2)
            value = there - (a.abs() * move).sum(2)
            value = value + multiplier * (squares - self.epsilon**2)
            best = torch.maximum(best, value)
            too_far = squares > self.epsilon**2
            low, high = (
                torch.where(too_far, multiplier, low),
                torch.where(too_far, high, multiplier),
            )
        return best

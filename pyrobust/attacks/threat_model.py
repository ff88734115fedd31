"""The perturbation set, and the worst points an attack has found in it."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pyrobust.config.fields import Norm

# Points are stored in float32, so that a distance may exceed epsilon by rounding alone: by half a
# unit in the last place of each pixel. This is a four-thousandth of a grey level. In l1, where the
# roundings of all pixels add up, it is relative to epsilon.
TOLERANCE = 1e-6


def in_pixel_range(x_adv: Tensor) -> Tensor:
    """Return which images lie in [0, 1], (N,) bool; one that is not finite does not."""
    pixels = x_adv.flatten(1)
    # A comparison with NaN is False.
    return ((pixels >= 0) & (pixels <= 1)).all(1)


class PerturbationSet(Protocol):
    """The images that may stand in for an image x."""

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Return the size of each perturbation, (N,) float64."""

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Return which points are allowed, (N,) bool."""


@dataclass(frozen=True)
class PixelRange:
    """All images in [0, 1]: for attacks whose points are in the set by how they are made."""

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Return the largest change of a pixel, (N,) float64."""
        return (x_adv.double() - x.double()).flatten(1).abs().amax(1)

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Return which points are allowed, (N,) bool."""
        return in_pixel_range(x_adv)


@dataclass(frozen=True)
class ThreatModel:
    """The ball of radius `epsilon` around an image, inside [0, 1]."""

    norm: Norm
    epsilon: float

    @property
    def largest_distance(self) -> float:
        """Radius with the tolerance for points that are stored in float32."""
        slack = TOLERANCE * (max(1.0, self.epsilon) if self.norm == "l1" else 1.0)
        return self.epsilon + slack

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Return the norm of each perturbation, (N,) float64, computed in float64."""
        delta = (x_adv.double() - x.double()).flatten(1)
        if self.norm == "linf":
            return delta.abs().amax(1)
        return delta.abs().sum(1) if self.norm == "l1" else delta.square().sum(1).sqrt()

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Return which points are allowed, (N,) bool: in the ball and in [0, 1], and finite."""
        return in_pixel_range(x_adv) & (self.distance(x_adv, x) <= self.largest_distance)


# The prediction of a network whose logits are not finite: it is none of the classes.
NO_CLASS = -1


def predictions(logits: Tensor) -> Tensor:
    """Return the class of the largest logit, (N,) int64; NO_CLASS where a logit is not finite."""
    return torch.where(logits.isfinite().all(1), logits.argmax(1), NO_CLASS)


def is_broken(logits: Tensor, labels: Tensor) -> Tensor:
    """Return which images are misclassified, (N,) bool.

    Logits that are not finite predict nothing, so their image is misclassified whatever its label:
    argmax would otherwise return the class of a NaN.
    """
    return torch.ne(predictions(logits), labels)


class WorstPoints:
    """For each image its worst point: a misclassified one, else that of the highest loss.

    Args:
        x: (N, C, H, W), the images themselves, about which nothing is known yet.
    """

    def __init__(self, x: Tensor) -> None:
        self.x_adv = x.clone()
        self.loss = x.new_full((len(x),), -torch.inf)
        self.broken = torch.zeros(len(x), dtype=torch.bool, device=x.device)

    def update(self, rows: Tensor, x_adv: Tensor, loss: Tensor, broken: Tensor) -> None:
        """Keep the points of images `rows` that are worse than what is known.

        Args:
            rows: (n,) int64, each once.
            x_adv: (n, C, H, W).
            loss: (n,).
            broken: (n,) bool, which points are misclassified.
        """
        known = self.broken[rows]
        worse = (broken & ~known) | ((broken == known) & (loss > self.loss[rows]))
        better = torch.nonzero(worse)[:, 0]
        rows = rows[better]
        self.x_adv[rows] = x_adv[better]
        self.loss[rows] = loss[better]
        self.broken[rows] = broken[better]

    def standing(self) -> Tensor:
        """Return the rows of the images without a misclassified point, ascending."""
        return torch.nonzero(~self.broken).flatten()

"""The perturbation set: what an adversarial point may be."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pyrobust.config.fields import Norm

# Points are stored in float32, so that a distance may exceed epsilon by rounding alone: by half a
# unit in the last place of each pixel. This is a four-thousandth of a grey level.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class ThreatModel:
    """The ball of radius `epsilon` around an image, inside [0, 1]."""

    norm: Norm
    epsilon: float

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Return the norm of each perturbation, (N,) float64, computed in float64."""
        delta = (x_adv.double() - x.double()).flatten(1)
        return delta.abs().amax(1) if self.norm == "linf" else delta.square().sum(1).sqrt()

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Return which points are allowed, (N,) bool: in the ball and in [0, 1], and finite."""
        pixels = x_adv.flatten(1)
        # A comparison with NaN is False, so a point that is not finite is never allowed.
        in_box = ((pixels >= 0) & (pixels <= 1)).all(1)
        return in_box & (self.distance(x_adv, x) <= self.epsilon + TOLERANCE)


def is_broken(logits: Tensor, labels: Tensor) -> Tensor:
    """Return which images are misclassified, (N,) bool."""
    return torch.ne(logits.argmax(1), labels)

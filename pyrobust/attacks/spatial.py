"""Rotations and translations of an image (Engstrom et al. 2019): every one of a grid is tried."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pyrobust import ops
from pyrobust.attacks.network_passes import LogitsFn
from pyrobust.attacks.threat_model import WorstPoints, is_broken


@dataclass(frozen=True)
class SpatialSettings:
    """The grid, which contains the image itself. The defaults are the authors' for CIFAR-10.

    Args:
        max_rotation: degrees, in both directions.
        max_translation: share of the image's side, in all four directions.
        num_rotations: odd number of angles.
        num_translations: odd number of shifts along each axis.
    """

    max_rotation: float = 30.0
    max_translation: float = 3 / 32
    num_rotations: int = 31
    num_translations: int = 5

    @property
    def size(self) -> int:
        """Number of transformations."""
        return self.num_rotations * self.num_translations**2

    def transformations(self) -> Iterator[tuple[float, float, float]]:
        """Yield (degrees, share of the width, share of the height)."""
        angles = _symmetric(self.max_rotation, self.num_rotations)
        shifts = _symmetric(self.max_translation, self.num_translations)
        yield from itertools.product(angles, shifts, shifts)


def _symmetric(largest: float, count: int) -> list[float]:
    """Return `count` values from -largest to largest with equal steps; 0 is the middle one."""
    half = (count - 1) // 2
    return [largest * i / half if half else 0.0 for i in range(-half, half + 1)]


def transformed(x: Tensor, degrees: float, right: float, down: float) -> Tensor:
    """Return images (N, C, H, W) rotated clockwise, then moved; black comes in.

    Pixels are interpolated bilinearly.

    Args:
        right, down: shares of the width and of the height.
    """
    height, width = x.shape[-2:]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    # From a place in the result, with sides from -1 to 1, to the place in x that it shows.
    back = x.new_tensor([[cos, sin * height / width], [-sin * width / height, cos]])
    offset = back @ x.new_tensor([-2 * right, -2 * down])
    theta = torch.cat([back, offset[:, None]], 1).expand(len(x), 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="zeros", align_corners=False).clamp(0, 1)


def spatial(logits_fn: LogitsFn, x: Tensor, labels: Tensor, settings: SpatialSettings) -> Tensor:
    """Return the worst transformation of each image, of the shape of x.

    That is the first of the grid that is misclassified, else the one of the highest margin
    z_j - z_y. The search is exact: an image without a misclassified transformation has none on
    the grid.
    """
    worst = WorstPoints(x)
    for transformation in settings.transformations():
        rows = worst.standing()
        if not len(rows):
            break
        moved = transformed(x[rows], *transformation)
        with torch.no_grad():
            logits = logits_fn(moved)
        loss, _ = ops.margin(logits, labels[rows])
        worst.update(rows, moved, loss, is_broken(logits, labels[rows]))
    return worst.x_adv

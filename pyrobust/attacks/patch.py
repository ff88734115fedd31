"""An adversarial patch (Brown et al. 2017) for each image: any pixels in one small square.

Its place is searched on a grid, and its pixels by projected gradient ascent in [0, 1].
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrobust import ops
from pyrobust.attacks.network_passes import LogitsFn, gradient
from pyrobust.attacks.threat_model import WorstPoints, in_pixel_range, is_broken

# First step size, in the [0, 1] pixel range; it falls linearly to a tenth.
_STEP_SIZE = 0.2


@dataclass(frozen=True)
class PatchSettings:
    """How large the patch is, and how it is searched for.

    Args:
        area: share of the image that the square covers, rounded to whole pixels.
        num_locations: places along each axis, from border to border.
        num_steps: of ascent on the margin at each place.
    """

    area: float = 0.025
    num_locations: int = 7
    num_steps: int = 20

    def side(self, height: int, width: int) -> int:
        """Return the side of the square in pixels, at least 1 and at most that of the image."""
        return min(max(round(math.sqrt(self.area * height * width)), 1), height, width)

    def places(self, height: int, width: int) -> Iterator[tuple[int, int]]:
        """Yield (top, left) of the square; equal places once."""
        side = self.side(height, width)
        yield from itertools.product(self._along(height - side), self._along(width - side))

    def _along(self, last: int) -> list[int]:
        steps = max(self.num_locations - 1, 1)
        return sorted({round(last * i / steps) for i in range(self.num_locations)})


@dataclass(frozen=True)
class PatchSet:
    """Images that differ from x in one square of `side` pixels, inside [0, 1]."""

    side: int

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Return the number of places that differ in some channel, (N,) float64."""
        return torch.ne(x_adv, x).any(1).flatten(1).sum(1).double()

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Return which points are allowed, (N,) bool."""
        changed = torch.ne(x_adv, x).any(1)
        fits = [self._spans_at_most(changed.any(dim)) for dim in (1, 2)]
        return in_pixel_range(x_adv) & fits[0] & fits[1]

    def _spans_at_most(self, changed: Tensor) -> Tensor:
        """Return which rows of changed (N, n) bool have their first and last True near enough."""
        places = torch.arange(changed.shape[1], device=changed.device)
        first = torch.where(changed, places, changed.shape[1]).amin(1)
        last = torch.where(changed, places, -1).amax(1)
        return last - first < self.side


def patch(
    logits_fn: LogitsFn,
    x: Tensor,
    labels: Tensor,
    sample_ids: Tensor,
    settings: PatchSettings,
    seed: int,
) -> Tensor:
    """Return the worst patched image found for each image, of the shape of x.

    That is a misclassified one, else that of the highest margin z_j - z_y.

    Args:
        x: (N, C, H, W) in [0, 1].
        sample_ids: (N,) int64; (seed, sample id, place) determine the first pixels of a patch.
    """
    worst, height, width = WorstPoints(x), *x.shape[-2:]
    side = settings.side(height, width)
    for number, (top, left) in enumerate(settings.places(height, width)):
        rows = worst.standing()
        if not len(rows):
            break
        mask = torch.zeros(x.shape[1:], dtype=torch.bool, device=x.device)
        mask[:, top : top + side, left : left + side] = True
        noise = ops.uniform(sample_ids[rows], x.shape[1:], seed, number, x.dtype)
        start = torch.where(mask, noise, x[rows])
        _ascend(logits_fn, x, start, labels, mask, settings, rows, worst)
    return worst.x_adv


def _ascend(
    logits_fn: LogitsFn,
    x: Tensor,
    x_adv: Tensor,
    labels: Tensor,
    mask: Tensor,
    settings: PatchSettings,
    rows: Tensor,
    worst: WorstPoints,
) -> None:
    """Climb the margin inside `mask` (C, H, W) from x_adv (n, C, H, W), and record all points."""
    for step in range(settings.num_steps + 1):
        here = gradient(logits_fn, x_adv, ops.margin, labels[rows])
        broken = is_broken(here.logits, labels[rows])
        worst.update(rows, x_adv, here.loss, broken)
        keep = torch.nonzero(~broken)[:, 0]
        rows = rows[keep]
        if step == settings.num_steps or not len(rows):
            return
        x_adv, grad = x_adv[keep], torch.where(mask, here.grad[keep], 0.0)
        size = _STEP_SIZE * (1 - 0.9 * step / settings.num_steps)
        # A ball of radius 1 is the whole range; pixels without a gradient stay.
        ops.linf_step_(x_adv, x[rows], grad, size, 1.0)

"""Adaptive discriminator augmentation, ADA (Karras et al. 2020).

Each transformation is applied with probability p. As long as p stays below about 0.8, the
augmentations do not leak into the generated images (section 2.1).
"""

import math
from collections.abc import Iterator, Mapping
from functools import reduce

import torch
from torch import Tensor

from pyrobust.generators.resampling import rotation, scaling, transform, translation

# Random numbers per image.
NUM_UNIFORMS = 21
NUM_NORMALS = 7

_TRANSLATION = 0.125  # of the side: range of whole-pixel shifts, deviation of others
_LOG_SCALE = 0.2 * math.log(2)
_BRIGHTNESS = 0.2
_LOG_CONTRAST = 0.5 * math.log(2)
_LOG_SATURATION = math.log(2)


def augment(images: Tensor, p: Tensor, uniforms: Tensor, normals: Tensor, taps: Tensor) -> Tensor:
    """Return randomly transformed images; differentiable in the images, twice.

    Args:
        images: (N, C, H, W) in [-1, 1], C 1 or 3.
        p: (), probability of each transformation.
        uniforms: (N, NUM_UNIFORMS) in [0, 1); normals: (N, NUM_NORMALS).
        taps: those of `symlet_taps`, on the device.
    """
    uniform, normal = iter(uniforms.unbind(1)), iter(normals.unbind(1))
    geometry = _geometry(images.shape[2:], p, uniform, normal)
    colour = _colour(p, uniform, normal)
    return _recolour(transform(images, geometry, taps), colour)


def _geometry(
    side: torch.Size, p: Tensor, uniform: Iterator[Tensor], normal: Iterator[Tensor]
) -> Tensor:
    """Return the maps from positions in the result to positions in the image, (N, 3, 3).

    Positions are in units in which the image spans -1 to 1.
    """
    height, width = side

    def happens(probability: Tensor = p) -> Tensor:
        return next(uniform) < probability

    def whole(extent: int) -> Tensor:
        return 2 / extent * torch.round((2 * next(uniform) - 1) * _TRANSLATION * extent)

    def angle() -> Tensor:
        return (2 * next(uniform) - 1) * math.pi

    # Two rotations around the stretch: together they happen with probability p.
    p_rotation = 1 - torch.sqrt(1 - p)
    flip = torch.where(happens(), 1 - 2 * torch.floor(2 * next(uniform)), 1.0)
    turn = torch.where(happens(), math.pi / 2 * torch.floor(4 * next(uniform)), 0.0)
    shift_happens = happens()
    shift = [torch.where(shift_happens, whole(extent), 0.0) for extent in (width, height)]
    scale = torch.where(happens(), torch.exp(_LOG_SCALE * next(normal)), 1.0)
    before = torch.where(happens(p_rotation), angle(), 0.0)
    stretch = torch.where(happens(), torch.exp(_LOG_SCALE * next(normal)), 1.0)
    after = torch.where(happens(p_rotation), angle(), 0.0)
    fraction_happens = happens()
    fraction = [
        torch.where(fraction_happens, 2 * _TRANSLATION * next(normal), 0.0) for _ in range(2)
    ]
    ones = torch.ones_like(flip)
    maps = (
        scaling(flip, ones),
        rotation(turn),
        translation(*shift),
        scaling(scale, scale),
        rotation(before),
        scaling(stretch, 1 / stretch),
        rotation(after),
        translation(*fraction),
    )
    return reduce(torch.matmul, maps)


def _colour(p: Tensor, uniform: Iterator[Tensor], normal: Iterator[Tensor]) -> Tensor:
    """Return the map of colours, (N, 3, 4): a matrix and an offset."""

    def happens() -> Tensor:
        return next(uniform) < p

    def full(values: Tensor) -> Tensor:
        return values[:, None, None]

    brightness = torch.where(happens(), _BRIGHTNESS * next(normal), 0.0)
    contrast = torch.where(happens(), torch.exp(_LOG_CONTRAST * next(normal)), 1.0)
    flip = torch.where(happens(), torch.floor(2 * next(uniform)), 0.0)
    hue = torch.where(happens(), (2 * next(uniform) - 1) * math.pi, 0.0)
    saturation = torch.where(happens(), torch.exp(_LOG_SATURATION * next(normal)), 1.0)

    identity = torch.eye(3, dtype=hue.dtype, device=hue.device)
    grey = torch.full_like(identity, 1 / 3)  # v v^T, onto the axis of grey
    # Rodrigues' rotation about that axis: its cross product is v × c.
    cross = (identity.roll(1, 0) - identity.roll(1, 1)) / math.sqrt(3)
    turned = full(torch.cos(hue)) * (identity - grey) + full(torch.sin(hue)) * cross
    matrix = full(contrast) * (grey * full(1 - 2 * flip) + full(saturation) * turned)
    offset = (brightness * contrast * (1 - 2 * flip))[:, None, None].expand(-1, 3, 1)
    return torch.cat([matrix, offset], 2)


def _recolour(images: Tensor, colour: Tensor) -> Tensor:
    matrix, offset = colour[..., :3], colour[..., 3:]
    if images.shape[1] == 1:
        # Greyscale images only see the effect of the matrix on the grey axis.
        matrix, offset = matrix.sum((1, 2))[:, None, None] / 3, offset[:, :1]
    return torch.baddbmm(offset, matrix, images.flatten(2)).view_as(images)


# Steps between two adjustments.
_INTERVAL = 4


class AdaptiveProbability:
    """Adjusts p to keep the mean sign of the scores of real images, r_t, near a target.

    r_t is 0 if the discriminator cannot distinguish real images from fakes, and 1 if it has
    memorised all training images.

    Args:
        target: of r_t.
        images: number of real images over which p can rise from 0 to 1.

    Attributes:
        p: () float32.
    """

    def __init__(self, target: float, images: int, device: torch.device) -> None:
        self._target, self._images = target, images
        self.p = torch.zeros((), device=device)
        self._signs = torch.zeros((), device=device)

    def update(self, step: int, real_scores: Tensor, batch_size: int) -> None:
        """Adjust p by the scores of step `step`, averaged over the processes.

        Args:
            real_scores: (), the mean sign of the scores of the batch.
            batch_size: real images of an update, all processes together.
        """
        # A batch with non-finite scores, whose update is skipped, counts as 0.
        self._signs += torch.nan_to_num(real_scores, nan=0.0)
        if (step + 1) % _INTERVAL:
            return
        direction = torch.sign(self._signs / _INTERVAL - self._target)
        self.p = (self.p + direction * batch_size * _INTERVAL / self._images).clamp(0, 1)
        self._signs = torch.zeros_like(self._signs)

    def state(self) -> dict[str, Tensor]:
        """Return p and the sum of signs since its last adjustment."""
        return {"p": self.p, "signs": self._signs}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what `state` returned."""
        self.p, self._signs = (
            tensors[name].to(self.p.device, copy=True) for name in ("p", "signs")
        )

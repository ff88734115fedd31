"""Non-leaking augmentation of EDM's training images (Karras et al. 2022, appendix F.2).

Each geometric transformation is applied with a small probability, and the network is conditioned on
its parameters. Conditioned on no transformation, the network draws images without any. List, order,
strengths and labels are those of the authors' code (NVlabs/edm, training/augment.py, with xflip,
yflip, scale, rotate_frac, aniso and translate_frac).
"""

import math
from functools import reduce

import torch
from torch import Tensor

from pyrobust.generators.resampling import rotation, scaling, transform, translation

# Random numbers that one image takes.
NUM_UNIFORMS = 10
NUM_NORMALS = 4

NUM_LABELS = 9
"""Numbers that describe the transformations of an image; all are 0 without a transformation."""

_LOG_SCALE = 0.2 * math.log(2)  # of the scaling and of the anisotropy
_TRANSLATION = 0.125  # of the side


def augment(
    images: Tensor,
    probability: float,
    mirror_probability: float,
    uniforms: Tensor,
    normals: Tensor,
    taps: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return randomly transformed images (N, C, H, W) and their labels (N, NUM_LABELS).

    The labels are, with the paper's a_0 to a_7: a_0 and a_1, whether the image is mirrored left to
    right and top to bottom; a_2, of the scaling by 2^(0.2 a_2); cos(a_3) - 1 and sin(a_3), of the
    rotation by a_3; a_5 cos(a_4) and a_5 sin(a_4), of the stretching by 2^(0.2 a_5) in the
    direction a_4, which is 0 for half of the images; a_6 and a_7, of the shift by an eighth of the
    sides times these.

    Args:
        images: (N, C, H, W).
        probability: of each transformation; mirroring then happens to half of these images.
        mirror_probability: the same for mirroring left to right.
        uniforms: (N, NUM_UNIFORMS) in [0, 1); normals: (N, NUM_NORMALS).
        taps: those of `symlet_taps`, on the device.
    """
    gates, values = uniforms[:, :6], uniforms[:, 6:].unbind(1)
    mirror_gate, flip_gate, *others = gates.unbind(1)
    mirrored = (mirror_gate < mirror_probability) & (values[0] < 0.5)
    flipped = (flip_gate < probability) & (values[1] < 0.5)
    scaled, rotated, stretched, shifted = (gate < probability for gate in others)

    zero = torch.zeros_like(values[0])
    scale = torch.where(scaled, normals[:, 0], zero)
    angle = torch.where(rotated, (2 * values[2] - 1) * math.pi, zero)
    # Half of the images are stretched along the axes (`aniso_rotate_prob`).
    direction = torch.where(values[3] < 0.5, (4 * values[3] - 1) * math.pi, zero)
    stretch = torch.where(stretched, normals[:, 1], zero)
    shift_x, shift_y = (torch.where(shifted, normals[:, axis], zero) for axis in (2, 3))

    size, ratio = torch.exp(_LOG_SCALE * scale), torch.exp(_LOG_SCALE * stretch)
    geometry = reduce(
        torch.matmul,
        (
            scaling(1 / size, 1 / size),
            rotation(angle),
            rotation(-direction),
            scaling(1 / ratio, ratio),
            rotation(direction),
            translation(-2 * _TRANSLATION * shift_x, -2 * _TRANSLATION * shift_y),
        ),
    )
    # Mirrored pixels and untransformed images keep their exact values.
    images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    images = torch.where(flipped[:, None, None, None], images.flip(2), images)
    moved = scaled | rotated | stretched | shifted
    images = torch.where(moved[:, None, None, None], transform(images, geometry, taps), images)
    labels = (
        mirrored.to(images.dtype),
        flipped.to(images.dtype),
        scale,
        torch.cos(angle) - 1,
        torch.sin(angle),
        stretch * torch.cos(direction),
        stretch * torch.sin(direction),
        shift_x,
        shift_y,
    )
    return images, torch.stack(labels, 1)

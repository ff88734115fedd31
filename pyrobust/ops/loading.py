"""Images from a store of bytes to a training batch, in one pass."""

import torch
from torch import Tensor

from pyrobust.ops.core import core


def gather_augment(
    images: Tensor,
    index: Tensor,
    sample_ids: Tensor,
    seed: int,
    epoch: int,
    padding: int,
    flip: bool,
    dtype: torch.dtype = torch.float32,
    channels_last: bool = False,
) -> Tensor:
    """Return rows of a store as augmented images (B, C, H, W) in [0, 1].

    Each image is padded with zeros, cropped back to its size at random, and mirrored with
    probability one half, drawn from (seed, sample id, epoch) alone.

    Args:
        images: (N, H, W, C) uint8, contiguous; may be memory-mapped.
        index: (B,) int64 rows of `images`; out of range is an error (on CUDA a device-side
            assertion, which torch reports at the next synchronisation).
        sample_ids: (B,) int64.
        epoch: 0 to 2^32 - 1.
        padding: zeros on each side before the crop; 0 for no crop.
        flip: whether images are mirrored at random.
        dtype: float32, float64 or bfloat16; byte / 255 rounded to the nearest, as
            `u8.float() / 255` has it on the CPU (bfloat16 is the rounded float32).
        channels_last: memory format of the result.
    """
    result: Tensor = core.gather_augment(
        images, index, sample_ids, seed, epoch, padding, flip, dtype, channels_last
    )
    return result


def _fake(
    images: Tensor,
    index: Tensor,
    sample_ids: Tensor,
    seed: int,
    epoch: int,
    padding: int,
    flip: bool,
    dtype: torch.dtype,
    channels_last: bool,
) -> Tensor:
    _, height, width, channels = images.shape
    layout = torch.channels_last if channels_last else torch.contiguous_format
    shape = (index.shape[0], channels, height, width)
    return torch.empty(shape, dtype=dtype, device=images.device, memory_format=layout)


torch.library.register_fake("pyrobust::gather_augment", _fake)

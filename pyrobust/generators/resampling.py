"""Resample images: separable filters, and geometric transformations without aliasing.

The transformations are those of adaptive discriminator augmentation (Karras et al. 2020, "Training
Generative Adversarial Networks with Limited Data", appendix B). All is differentiable twice, as a
gradient penalty needs, and uses no operator that lacks a deterministic backward pass on CUDA.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# Sides of padding as F.pad takes them: left, right, top, bottom.
Padding = tuple[int, int, int, int]

# The low-pass filter of the symlet with six vanishing moments (Daubechies 1992, table 6.3), over
# the root of 2: shrinking what it enlarged gives back every pixel.
_SYMLET = tuple(
    tap / math.sqrt(2)
    for tap in (
        0.015404109327027373,
        0.0034907120842174702,
        -0.11799011114819057,
        -0.048311742585633,
        0.4910559419267466,
        0.787641141030194,
        0.3379294217276218,
        -0.07263752278646252,
        -0.021060292512300564,
        0.04472490177066578,
        0.0017677118642428036,
        -0.007800708325034148,
    )
)

# Pixels beyond the border that the filter reaches to.
_MARGIN = len(_SYMLET) // 4

# The filter is not quite symmetric: pixels of the finer image lie this far behind their place.
_LATENESS = sum(number * tap for number, tap in enumerate(_SYMLET)) - (len(_SYMLET) - 1) / 2


def binomial_taps() -> Tensor:
    """Return StyleGAN2's filter along one axis, (4,) float64 that sum to 1.

    Networks keep it as a buffer: a tensor made from Python numbers in every pass would make the
    CPU wait for the GPU each time.
    """
    return torch.tensor([1 / 8, 3 / 8, 3 / 8, 1 / 8], dtype=torch.float64)


def symlet_taps() -> Tensor:
    """Return the filter of the geometric transformations along one axis, (12,) float64."""
    return torch.tensor(_SYMLET, dtype=torch.float64)


def smooth(x: Tensor, taps: Tensor, padding: Padding, gain: float = 1.0) -> Tensor:
    """Correlate each channel of x (N, C, H, W) with the separable filter after zero padding.

    Args:
        taps: (L,) of either axis, L even.
    """
    row = _row(x, taps, gain)
    padded = F.pad(x, padding)
    out = F.conv2d(padded, row, groups=x.shape[1])
    return F.conv2d(out, row.transpose(2, 3), groups=x.shape[1])


def enlarge(x: Tensor, taps: Tensor) -> Tensor:
    """Double height and width: zeros between the pixels, then the filter; brightness is kept."""
    # A transposed convolution is both; its padding cuts off what it adds at the borders.
    row, cut = _row(x, taps, 2.0), len(taps) // 2 - 1
    channels = x.shape[1]
    out = F.conv_transpose2d(x, row, stride=(1, 2), padding=(0, cut), groups=channels)
    column = row.transpose(2, 3)
    return F.conv_transpose2d(out, column, stride=(2, 1), padding=(cut, 0), groups=channels)


def shrink(x: Tensor, taps: Tensor) -> Tensor:
    """Halve height and width: the filter, then every other pixel; the adjoint of `enlarge` / 4."""
    row, border = _row(x, taps, 1.0), len(taps) // 2 - 1
    channels = x.shape[1]
    out = F.conv2d(x, row, stride=(1, 2), padding=(0, border), groups=channels)
    column = row.transpose(2, 3)
    return F.conv2d(out, column, stride=(2, 1), padding=(border, 0), groups=channels)


def _row(x: Tensor, taps: Tensor, gain: float) -> Tensor:
    """Return the filter for each channel, (C, 1, 1, L)."""
    return (taps.to(x.dtype) * gain).repeat(x.shape[1], 1, 1, 1)


def scaling(x: Tensor, y: Tensor) -> Tensor:
    """Return the maps (N, 3, 3) that scale by x and y (N,)."""
    return torch.diag_embed(torch.stack([x, y, torch.ones_like(x)], 1))


def rotation(angle: Tensor) -> Tensor:
    """Return the maps (N, 3, 3) that rotate by the angles (N,) in radians."""
    cos, sin = torch.cos(angle), torch.sin(angle)
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    rows = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], 1)
    return rows.reshape(-1, 3, 3)


def translation(x: Tensor, y: Tensor) -> Tensor:
    """Return the maps (N, 3, 3) that shift by x and y (N,), in half sides of the image."""
    result = torch.eye(3, dtype=x.dtype, device=x.device).repeat(len(x), 1, 1)
    result[:, 0, 2], result[:, 1, 2] = x, y
    return result


def transform(images: Tensor, geometry: Tensor, taps: Tensor) -> Tensor:
    """Return the images resampled by a linear map each.

    They are resampled at twice the resolution, where bilinear interpolation blurs little. Beyond
    its border an image continues as its mirror image.

    Args:
        images: (N, C, H, W).
        geometry: (N, 3, 3), from places of the result to places of the image, both in units where
            the image reaches from -1 to 1.
        taps: those of `symlet_taps`, on the device.
    """
    extents = images.shape[:1:-1]  # width, height: maps name x before y
    borders = [min(side - 1, side // 2 + _MARGIN) for side in extents]
    padded = images
    for axis, border in zip((3, 2), borders, strict=True):
        padded = _mirrored(padded, border, axis)
    fine = enlarge(padded, taps)
    x, y = (_places(side, images) for side in extents)
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    result = torch.stack([columns, rows, torch.ones_like(rows)], -1)
    source = torch.einsum("nij,hwj->nhwi", geometry[:, :2], result)
    # From units of the image to pixels of `fine`.
    columns, rows = (
        source[..., axis] * side + (side + 2 * border - 0.5 + _LATENESS)
        for axis, (side, border) in enumerate(zip(extents, borders, strict=True))
    )
    moved = _interpolated(fine, columns, rows)
    return shrink(moved, taps)[..., _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]


def _places(side: int, like: Tensor) -> Tensor:
    """Return where the pixels of the finer result lie, in units of the image, with a margin."""
    pixels = torch.arange(-2 * _MARGIN, 2 * (side + _MARGIN), dtype=like.dtype, device=like.device)
    return (pixels + 0.5 - _LATENESS) / side - 1


def _mirrored(x: Tensor, border: int, axis: int) -> Tensor:
    """Return x with `border` more pixels at either end of an axis, mirrored at the last pixel.

    The reflecting F.pad has no deterministic backward pass on CUDA.
    """
    before = x.narrow(axis, 1, border).flip(axis)
    after = x.narrow(axis, x.shape[axis] - 1 - border, border).flip(axis)
    return torch.cat([before, x, after], axis)


def _interpolated(images: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """Return the images at fractional pixels, bilinear, mirrored at the edge of the last pixel.

    F.grid_sample has no deterministic backward pass on CUDA; that of a gather has.

    Args:
        images: (N, C, H, W).
        columns, rows: (N, H', W').

    Returns:
        (N, C, H', W').
    """
    count, channels, height, width = images.shape
    flat = images.flatten(2)
    left, top = columns.floor(), rows.floor()
    of_right, of_bottom = columns - left, rows - top
    result = torch.zeros((), dtype=images.dtype, device=images.device)
    for right in (0, 1):
        for bottom in (0, 1):
            column = _reflected(left.long() + right, width)
            row = _reflected(top.long() + bottom, height)
            index = (row * width + column).flatten(1).unsqueeze(1).expand(-1, channels, -1)
            pixels = flat.gather(2, index).view(count, channels, *rows.shape[1:])
            weight = (of_right if right else 1 - of_right) * (
                of_bottom if bottom else 1 - of_bottom
            )
            result = result + weight.unsqueeze(1) * pixels
    return result


def _reflected(index: Tensor, size: int) -> Tensor:
    """Return the mirrored pixels for those outside: -1 becomes 0, and `size` becomes size - 1."""
    index = index.remainder(2 * size)
    return torch.minimum(index, 2 * size - 1 - index)

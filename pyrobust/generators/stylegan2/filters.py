"""Low-pass filtered changes of size, after Zhang (2019): enlarge, shrink, smooth.

Filters are applied along rows and columns with `groups` = channels; all is differentiable twice,
as the gradient penalty needs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# Numbers of a separable filter along one axis; they sum to 1, and there is an even count of them.
Taps = tuple[float, ...]

# The binomial filter of StyleGAN2.
BINOMIAL: Taps = (1 / 8, 3 / 8, 3 / 8, 1 / 8)

# Sides of padding as F.pad takes them: left, right, top, bottom.
Padding = tuple[int, int, int, int]


def smooth(x: Tensor, taps: Taps, padding: Padding, gain: float = 1.0) -> Tensor:
    """Correlate each channel of x (N, C, H, W) with the separable filter after zero padding."""
    row = _row(x, taps, gain)
    padded = F.pad(x, padding)
    out = F.conv2d(padded, row, groups=x.shape[1])
    return F.conv2d(out, row.transpose(2, 3), groups=x.shape[1])


def enlarge(x: Tensor, taps: Taps = BINOMIAL) -> Tensor:
    """Double height and width: zeros between the pixels, then the filter; brightness is kept."""
    # A transposed convolution is both; its padding cuts off what it adds at the borders.
    row, cut = _row(x, taps, 2.0), len(taps) // 2 - 1
    channels = x.shape[1]
    out = F.conv_transpose2d(x, row, stride=(1, 2), padding=(0, cut), groups=channels)
    column = row.transpose(2, 3)
    return F.conv_transpose2d(out, column, stride=(2, 1), padding=(cut, 0), groups=channels)


def shrink(x: Tensor, taps: Taps = BINOMIAL) -> Tensor:
    """Halve height and width: the filter, then every other pixel; the adjoint of `enlarge` / 4."""
    row, border = _row(x, taps, 1.0), len(taps) // 2 - 1
    channels = x.shape[1]
    out = F.conv2d(x, row, stride=(1, 2), padding=(0, border), groups=channels)
    column = row.transpose(2, 3)
    return F.conv2d(out, column, stride=(2, 1), padding=(border, 0), groups=channels)


def _row(x: Tensor, taps: Taps, gain: float) -> Tensor:
    """Return the filter for each channel, (C, 1, 1, length)."""
    row = torch.tensor(taps, dtype=x.dtype, device=x.device) * gain
    return row.repeat(x.shape[1], 1, 1, 1)

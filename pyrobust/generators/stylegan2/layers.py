"""Layers and filters of StyleGAN2 (Karras et al. 2020).

Filters are applied along rows and columns with `groups` = channels; all is differentiable twice,
as the gradient penalty needs.

Weights are stored as standard normals and scaled in every pass, so that all of them learn at one
rate (Karras et al. 2018). Names of parameters are those of the published weights.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


# Activations are clamped here, so that half precision cannot overflow in published networks.
CLAMP = 256.0

_SLOPE = 0.2


def leaky_relu(x: Tensor, gain: float = 1.0) -> Tensor:
    """Return the leaky ReLU, scaled to keep the variance and clamped."""
    return F.leaky_relu(x, _SLOPE).mul(math.sqrt(2) * gain).clamp(-CLAMP * gain, CLAMP * gain)


class Linear(nn.Module):
    """A linear layer with equalised learning rate.

    Args:
        rate: learning rate of this layer as a multiple of the network's.
        bias: the initial bias.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        activate: bool = False,
        rate: float = 1.0,
        bias: float = 0.0,
    ) -> None:
        super().__init__()
        self.activate, self.rate = activate, rate
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / rate)
        self.bias = nn.Parameter(torch.full((out_features,), bias))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in) to (N, out)."""
        scale = self.rate / math.sqrt(self.weight.shape[1])
        out = F.linear(x, self.weight * scale, self.bias * self.rate)
        return F.leaky_relu(out, _SLOPE) * math.sqrt(2) if self.activate else out


class Conv(nn.Module):
    """A convolution and a leaky ReLU, with equalised learning rate; it halves where asked to."""

    def __init__(self, in_channels: int, out_channels: int, side: int, halve: bool = False) -> None:
        super().__init__()
        self.halve = halve
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, side, side))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H, W), or half of H and W."""
        weight = self.weight / math.sqrt(self.weight[0].numel())
        if self.halve:
            x = smooth(x, BINOMIAL, (2, 2, 2, 2))
            out = F.conv2d(x, weight, self.bias, stride=2)
        else:
            out = F.conv2d(x, weight, self.bias, padding=weight.shape[2] // 2)
        return leaky_relu(out)


def modulated_conv(x: Tensor, weight: Tensor, styles: Tensor, doubling: bool) -> Tensor:
    """Convolve with weights that are scaled by a style and normalised (section 2.2).

    Scaling inputs and outputs equals scaling the weights of each image, without a copy of them.

    Args:
        x: (N, in, H, W); weight: (out, in, 3, 3); styles: (N, in).
        doubling: whether height and width are doubled on the way.
    """
    squares = weight.square().sum((2, 3))
    demodulation = torch.rsqrt(styles.square() @ squares.T + 1e-8)
    out = x * styles[..., None, None]
    if doubling:
        out = F.conv_transpose2d(out, weight.transpose(0, 1), stride=2)
        out = smooth(out, BINOMIAL, (1, 1, 1, 1), gain=2.0)
    else:
        out = F.conv2d(out, weight, padding=1)
    return out * demodulation[..., None, None]


def normalize_second_moment(x: Tensor) -> Tensor:
    """Scale each row of (N, D) to a mean square of 1."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)

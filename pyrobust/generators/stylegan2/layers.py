"""Layers of StyleGAN2 (Karras et al. 2020).

Weights are stored as standard normals and scaled in every pass, so that all of them learn at one
rate (Karras et al. 2018). Names of parameters are those of the published weights.

In bfloat16 the convolutions alone are: linear layers (the mapping, the styles, the end of the
discriminator) and the norms of demodulation compute in float32, as in the authors' settings for
half precision.
"""

import math
from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyrobust.generators.resampling import binomial_taps, smooth

# Activations are clamped here, so that half precision cannot overflow in published networks.
CLAMP = 256.0

_SLOPE = 0.2


def in_float32(device: torch.device) -> AbstractContextManager[object]:
    """Return a context without autocast, for what bfloat16 is too coarse for."""
    return torch.autocast(device.type, enabled=False)


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
        with in_float32(x.device):
            out = F.linear(x.float(), self.weight * scale, self.bias * self.rate)
            return F.leaky_relu(out, _SLOPE) * math.sqrt(2) if self.activate else out


class Conv(nn.Module):
    """A convolution, halving where asked, and a leaky ReLU; with equalised learning rate."""

    taps: Tensor | None

    def __init__(self, in_channels: int, out_channels: int, side: int, halve: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, side, side))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("taps", binomial_taps() if halve else None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H, W), or half of H and W."""
        weight = self.weight / math.sqrt(self.weight[0].numel())
        if self.taps is not None:
            x = smooth(x, self.taps, (2, 2, 2, 2))
            out = F.conv2d(x, weight, self.bias, stride=2)
        else:
            out = F.conv2d(x, weight, self.bias, padding=weight.shape[2] // 2)
        return leaky_relu(out)


def modulated_conv(x: Tensor, weight: Tensor, styles: Tensor, taps: Tensor | None = None) -> Tensor:
    """Convolve with weights that are scaled by a style and normalised (section 2.2).

    Scaling inputs and outputs equals scaling the weights of each image, without a copy of them.

    Args:
        x: (N, in, H, W); weight: (out, in, 3, 3); styles: (N, in).
        taps: filter after height and width are doubled, (L,); None leaves them.
    """
    with in_float32(x.device):
        squares = weight.square().sum((2, 3))
        demodulation = torch.rsqrt(styles.square() @ squares.T + 1e-8)
    out = x * styles[..., None, None].to(x.dtype)
    if taps is not None:
        out = F.conv_transpose2d(out, weight.transpose(0, 1), stride=2)
        out = smooth(out, taps, (1, 1, 1, 1), gain=2.0)
    else:
        out = F.conv2d(out, weight, padding=1)
    return out * demodulation[..., None, None].to(out.dtype)


def normalize_second_moment(x: Tensor) -> Tensor:
    """Scale each row of (N, D) to a mean square of 1."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)

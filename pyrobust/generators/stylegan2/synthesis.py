"""StyleGAN2's generator network: mapping and synthesis (Karras et al. 2020)."""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyrobust.generators.resampling import binomial_taps, enlarge
from pyrobust.generators.stylegan2.layers import (
    CLAMP,
    Linear,
    leaky_relu,
    modulated_conv,
    normalize_second_moment,
)

# Learning rate of the mapping as a multiple of the network's.
_RATE = 0.01


class Mapping(nn.Module):
    """Fully connected layers, `fc0` to the last; `embed` takes the class in.

    Args:
        latent_size: 0 for the discriminator's, which maps the class alone.
    """

    def __init__(self, latent_size: int, num_classes: int, width: int, num_layers: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.embed = Linear(num_classes, width)
        sizes = [latent_size + width] + [width] * num_layers
        self._layers = [f"fc{number}" for number in range(num_layers)]
        for name, before, after in zip(self._layers, sizes, sizes[1:], strict=False):
            self.add_module(name, Linear(before, after, activate=True, rate=_RATE))

    def forward(self, latents: Tensor | None, labels: Tensor) -> Tensor:
        """Map latents (N, latent_size), if any, and labels (N,) to (N, width)."""
        one_hot = F.one_hot(labels, self.num_classes).to(self.embed.weight.dtype)
        out = normalize_second_moment(self.embed(one_hot))
        if latents is not None:
            out = torch.cat([normalize_second_moment(latents), out], 1)
        for name in self._layers:
            out = self.get_submodule(name)(out)
        return out


# The resolution of the learned constant that every image grows from.
_START = 4


class StyledConv(nn.Module):
    """Modulated convolution, noise of learned strength at each pixel, bias, leaky ReLU."""

    taps: Tensor | None

    def __init__(
        self, in_channels: int, out_channels: int, style_size: int, doubling: bool = False
    ) -> None:
        super().__init__()
        self.register_buffer("taps", binomial_taps() if doubling else None, persistent=False)
        self.affine = Linear(style_size, in_channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H, W), or twice H and W; noise is (N, 1, H, W)."""
        out = modulated_conv(x, self.weight, self.affine(style), self.taps)
        return leaky_relu(out + noise * self.noise_strength + self.bias[:, None, None])


class ToImage(nn.Module):
    """A modulated 1×1 convolution to the colours, without normalisation."""

    def __init__(self, in_channels: int, channels: int, style_size: int) -> None:
        super().__init__()
        self.affine = Linear(style_size, in_channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, C, H, W)."""
        styles = self.affine(style) / math.sqrt(self.weight.shape[1])
        colours = torch.einsum("nihw,oi,ni->nohw", x, self.weight[..., 0, 0], styles)
        return (colours + self.bias[:, None, None]).clamp(-CLAMP, CLAMP)


class SynthesisBlock(nn.Module):
    """All that happens at one resolution; the first starts from a constant."""

    taps: Tensor

    def __init__(
        self, in_channels: int, width: int, channels: int, style_size: int, side: int
    ) -> None:
        super().__init__()
        self.side = side
        self.register_buffer("taps", binomial_taps(), persistent=False)
        if in_channels:
            self.conv0 = StyledConv(in_channels, width, style_size, doubling=True)
        else:
            self.const = nn.Parameter(torch.randn(width, side, side))
        self.conv1 = StyledConv(width, width, style_size)
        self.torgb = ToImage(width, channels, style_size)

    @property
    def num_noises(self) -> int:
        """Noise maps of side × side that a pass takes."""
        return 1 if hasattr(self, "const") else 2

    def forward(
        self, x: Tensor | None, image: Tensor | None, style: Tensor, noises: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the features (N, width, side, side) and the image (N, C, side, side) so far.

        Args:
            noises: (N, num_noises, side, side).
        """
        if x is None:
            x = self.const.expand(len(style), -1, -1, -1)
        else:
            x = self.conv0(x, style, noises[:, :1])
        x = self.conv1(x, style, noises[:, -1:])
        colours = self.torgb(x, style)
        return x, colours if image is None else enlarge(image, self.taps) + colours


class Synthesis(nn.Module):
    """Blocks b4, b8, … up to the image."""

    def __init__(self, side: int, channels: int, style_size: int, width: int) -> None:
        super().__init__()
        self._names = []
        in_channels, resolution = 0, _START
        while resolution <= side:
            self._names.append(f"b{resolution}")
            block = SynthesisBlock(in_channels, width, channels, style_size, resolution)
            self.add_module(self._names[-1], block)
            in_channels, resolution = width, 2 * resolution

    @property
    def num_noises(self) -> int:
        """Normal numbers that an image takes, all maps together."""
        return sum(block.num_noises * block.side**2 for block in self._blocks())

    def forward(self, style: Tensor, noise: Tensor) -> Tensor:
        """Map styles (N, style_size) and noise (N, num_noises) to images (N, C, side, side)."""
        x: Tensor | None = None
        image: Tensor | None = None
        first = 0
        for block in self._blocks():
            count = block.num_noises * block.side**2
            noises = noise[:, first : first + count].reshape(
                -1, block.num_noises, block.side, block.side
            )
            x, image = block(x, image, style, noises)
            first += count
        assert image is not None
        return image

    def _blocks(self) -> Iterator[SynthesisBlock]:
        for name in self._names:
            block = self.get_submodule(name)
            assert isinstance(block, SynthesisBlock)
            yield block


_MAPPING_LAYERS = 2


class GeneratorNetwork(nn.Module):
    """Latent, class and noise to an image.

    Args:
        side: height and width of the images, 4 times a power of two.
        latent_size: of the latents and of the styles.
        width: channels of every block.
        mapping_layers: of the mapping network; 2 in the authors' settings for CIFAR.
    """

    def __init__(
        self,
        side: int,
        channels: int,
        num_classes: int,
        latent_size: int,
        width: int,
        mapping_layers: int = _MAPPING_LAYERS,
    ) -> None:
        super().__init__()
        self.latent_size = latent_size
        self.mapping = Mapping(latent_size, num_classes, latent_size, mapping_layers)
        self.synthesis = Synthesis(side, channels, latent_size, width)

    @property
    def num_normals(self) -> int:
        """Normal numbers that determine an image of a class: the latent, then the noise."""
        return self.latent_size + self.synthesis.num_noises

    def forward(self, normals: Tensor, labels: Tensor) -> Tensor:
        """Map normals (N, num_normals) and labels (N,) to images (N, C, H, W), about [-1, 1]."""
        latents, noise = normals[:, : self.latent_size], normals[:, self.latent_size :]
        images: Tensor = self.synthesis(self.mapping(latents, labels), noise)
        return images

"""The network of the very deep VAE (Child 2021): encoder, decoder with latents, pixel head.

Parameters have the names of the published weights.
"""

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyrobust.generators.vdvae.ladder import Stage, check_ladder, parse_stages
from pyrobust.generators.vdvae.mixture import count_parameters


class Bottleneck(nn.Module):
    """1×1, 3×3, 3×3, 1×1 convolutions, each after a GELU (figure 3); 1×1 throughout below 3×3."""

    def __init__(
        self,
        in_width: int,
        middle_width: int,
        out_width: int,
        resolution: int,
        residual: bool = False,
        factor: int | None = None,
    ) -> None:
        super().__init__()
        side = 3 if resolution > 2 else 1
        self.residual, self.factor = residual, factor
        self.c1 = nn.Conv2d(in_width, middle_width, 1)
        self.c2 = nn.Conv2d(middle_width, middle_width, side, padding=side // 2)
        self.c3 = nn.Conv2d(middle_width, middle_width, side, padding=side // 2)
        self.c4 = nn.Conv2d(middle_width, out_width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H / factor, W / factor)."""
        out = x
        for layer in (self.c1, self.c2, self.c3, self.c4):
            out = layer(F.gelu(out))
        out = x + out if self.residual else out
        return out if self.factor is None else F.avg_pool2d(out, self.factor)


class Encoder(nn.Module):
    """Residual blocks from the image down; returns the last activations at each resolution."""

    def __init__(self, channels: int, width: int, middle_width: int, stages: list[Stage]) -> None:
        super().__init__()
        self.in_conv = nn.Conv2d(channels, width, 3, padding=1)
        self.enc_blocks = nn.ModuleList(
            Bottleneck(width, middle_width, width, stage.resolution, True, stage.factor)
            for stage in stages
        )

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        """Return the activations (N, width, R, R) by resolution R."""
        out = self.in_conv(x)
        activations = {out.shape[2]: out}
        for block in self.enc_blocks:
            out = block(out)
            activations[out.shape[2]] = out
        return activations


class DecoderBlock(nn.Module):
    """One latent variable: prior from the state above, posterior also from the encoder."""

    def __init__(self, stage: Stage, width: int, middle_width: int, latent_width: int) -> None:
        super().__init__()
        self.stage, self.latent_width = stage, latent_width
        side, width_of_both = stage.resolution, 2 * latent_width
        self.enc = Bottleneck(2 * width, middle_width, width_of_both, side)
        self.prior = Bottleneck(width, middle_width, width_of_both + width, side)
        self.z_proj = nn.Conv2d(latent_width, width, 1)
        self.resnet = Bottleneck(width, middle_width, width, side, residual=True)

    def forward(
        self, x: Tensor, noise: Tensor, activations: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the new state (N, width, R, R) and, with activations, the KL of each latent.

        Args:
            x: (N, width, R, R), the state.
            noise: (N, latent_width, R, R), standard normal.
            activations: of the encoder; without them the latent is drawn from the prior.
        """
        prior_mean, prior_log_std, residual = torch.split(
            self.prior(x).float(), [self.latent_width, self.latent_width, x.shape[1]], dim=1
        )
        if activations is None:
            latent = prior_mean + torch.exp(prior_log_std) * noise
            divergence = None
        else:
            mean, log_std = self.enc(torch.cat([x, activations], 1)).float().chunk(2, dim=1)
            latent = mean + torch.exp(log_std) * noise
            divergence = gaussian_kl(mean, log_std, prior_mean, prior_log_std)
        return self.resnet(x + residual + self.z_proj(latent)), divergence


def gaussian_kl(mean: Tensor, log_std: Tensor, other_mean: Tensor, other_log_std: Tensor) -> Tensor:
    """Return KL(N(mean, std) ‖ N(other_mean, other_std)) of each element in nats."""
    squares = torch.exp(2 * log_std) + (mean - other_mean) ** 2
    return other_log_std - log_std - 0.5 + 0.5 * squares * torch.exp(-2 * other_log_std)


class PixelHead(nn.Module):
    """Maps the last state to the parameters of each pixel's mixture."""

    def __init__(self, width: int, channels: int, mixtures: int) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(width, count_parameters(channels, mixtures), 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width, H, W) to (N, count_parameters, H, W)."""
        return self.out_conv(x)  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Decoder blocks from learned constants at the coarse resolutions up to the image."""

    def __init__(
        self,
        channels: int,
        width: int,
        middle_width: int,
        latent_width: int,
        mixtures: int,
        no_bias_above: int,
        stages: list[Stage],
    ) -> None:
        super().__init__()
        self.width = width
        self.dec_blocks = nn.ModuleList(
            DecoderBlock(stage, width, middle_width, latent_width) for stage in stages
        )
        self.resolutions = sorted({stage.resolution for stage in stages})
        self.bias_xs = nn.ParameterList(
            nn.Parameter(torch.zeros(1, width, side, side))
            for side in self.resolutions
            if side <= no_bias_above
        )
        self.out_net = PixelHead(width, channels, mixtures)
        self.gain = nn.Parameter(torch.ones(1, width, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, width, 1, 1))

    def forward(
        self, noise: Tensor, activations: dict[int, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the parameters of the pixels (N, P, H, W) and the summed KL (N,) in nats.

        Args:
            noise: (N, num_latents), standard normal.
            activations: of the encoder; without them all latents come from the prior (KL 0).
        """
        size = len(noise)
        states = {
            bias.shape[2]: bias.expand(size, -1, -1, -1).to(noise.dtype) for bias in self.bias_xs
        }
        total = noise.new_zeros(size)
        for block, of_block in zip(self._blocks(), self._cut(noise), strict=True):
            side, source = block.stage.resolution, block.stage.source
            x = states.get(side)
            if x is None:
                x = noise.new_zeros(size, self.width, side, side)
            if source is not None:
                x = x + F.interpolate(states[source], scale_factor=side // source)
            beside = None if activations is None else activations[side]
            states[side], divergence = block(x, of_block, beside)
            if divergence is not None:
                total = total + divergence.sum((1, 2, 3))
        last = states[self.resolutions[-1]]
        return self.out_net(last * self.gain + self.bias), total

    def _blocks(self) -> Iterator[DecoderBlock]:
        for block in self.dec_blocks:
            assert isinstance(block, DecoderBlock)
            yield block

    @property
    def latent_shapes(self) -> list[tuple[int, int, int]]:
        """Shape of each latent variable, in the order of the blocks."""
        return [
            (block.latent_width, block.stage.resolution, block.stage.resolution)
            for block in self._blocks()
        ]

    def _cut(self, noise: Tensor) -> Iterator[Tensor]:
        sizes = [math.prod(shape) for shape in self.latent_shapes]
        for part, shape in zip(torch.split(noise, sizes, 1), self.latent_shapes, strict=True):
            yield part.reshape(-1, *shape)


class Vdvae(nn.Module):
    """Encoder and decoder.

    Args:
        bottleneck: width of the inner convolutions as a share of `width`.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        side: int,
        channels: int,
        width: int,
        bottleneck: float,
        latent_width: int,
        mixtures: int,
        no_bias_above: int,
        encoder: str,
        decoder: str,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((channels, 1, 1), 0.5), persistent=False)
        self.register_buffer("std", torch.full((channels, 1, 1), 0.25), persistent=False)
        enc_stages, dec_stages = parse_stages(encoder), parse_stages(decoder)
        check_ladder(side, enc_stages, dec_stages)
        middle_width = int(width * bottleneck)
        self.side, self.channels, self.mixtures = side, channels, mixtures
        self.encoder = Encoder(channels, width, middle_width, enc_stages)
        self.decoder = Decoder(
            channels, width, middle_width, latent_width, mixtures, no_bias_above, dec_stages
        )
        self._initialize()

    def normalize_by(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Normalise the encoder's input by the mean and standard deviation of the data."""
        for buffer, values in ((self.mean, mean), (self.std, std)):
            buffer.copy_(torch.tensor(values).view(-1, 1, 1))

    @property
    def num_latents(self) -> int:
        """Total dimension of the latents: 412,432 for CIFAR-10."""
        return sum(math.prod(shape) for shape in self.decoder.latent_shapes)

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the parameters of the pixels and the KL (N,), given images.

        Args:
            x: (N, C, H, W) in [0, 1].
            noise: (N, num_latents), standard normal.
        """
        activations = self.encoder((x - self.mean) / self.std)
        parameters, divergence = self.decoder(noise, activations)
        return parameters, divergence

    @torch.no_grad()
    def _initialize(self) -> None:
        """Zero biases and prior heads; residual branches scaled by the depth (section 3.3)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                module.bias.zero_()
        blocks = [block for block in self.encoder.enc_blocks if isinstance(block, Bottleneck)]
        for encoder_block in blocks:
            encoder_block.c4.weight.mul_(math.sqrt(1 / len(blocks)))
        decoder_blocks = list(self.decoder._blocks())
        for block in decoder_blocks:
            block.prior.c4.weight.zero_()
            block.z_proj.weight.mul_(math.sqrt(1 / len(decoder_blocks)))
            block.resnet.c4.weight.mul_(math.sqrt(1 / len(decoder_blocks)))

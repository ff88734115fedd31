"""The discretised mixture of logistics, the distribution of a pixel (Salimans et al. 2017).

A pixel's channels share one mixture indicator; the mean of a channel is shifted by the values of
the channels before it. Values are 8-bit: shade k represents (k - 127.5) / 127.5 in [-1, 1].
"""

import math
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor

# Scales below this would put all mass on one shade.
_MIN_LOG_SCALE = -7.0

# Half the distance of two shades in [-1, 1].
_HALF_BIN = 1 / 255


class Mixture(NamedTuple):
    """Parameters of every pixel; M mixture components, C channels, S of its C(C-1)/2 shifts."""

    logits: Tensor  # (N, M, H, W)
    means: Tensor  # (N, C, M, H, W)
    log_scales: Tensor  # (N, C, M, H, W)
    shifts: Tensor  # (N, C (C - 1) / 2, M, H, W) in (-1, 1): of channel 1 by 0, 2 by 0, 2 by 1

    @classmethod
    def of(cls, parameters: Tensor, channels: int) -> Self:
        """Take apart the output of a network, in the order of the published weights.

        Args:
            parameters: (N, count_parameters(channels, M), H, W).
        """
        per_channel = _per_channel(channels)
        size, total, height, width = parameters.shape
        mixtures = total // (1 + channels * per_channel)
        of_channel = parameters[:, mixtures:].reshape(
            size, channels, per_channel * mixtures, height, width
        )
        means, log_scales, shifts = torch.split(
            of_channel, [mixtures, mixtures, (per_channel - 2) * mixtures], dim=2
        )
        return cls(
            parameters[:, :mixtures],
            means,
            log_scales.clamp(min=_MIN_LOG_SCALE),
            torch.tanh(shifts).reshape(size, -1, mixtures, height, width),
        )


def count_parameters(channels: int, mixtures: int) -> int:
    """Return the numbers that describe one pixel: 100 for ten mixtures of three channels."""
    return mixtures * (1 + channels * _per_channel(channels))


def _per_channel(channels: int) -> int:
    # Mean, scale and, as C (C - 1) / 2 is a multiple of C for 1 and 3 channels, the shifts.
    return 2 + (channels - 1) // 2


def log_likelihood(parameters: Tensor, x: Tensor) -> Tensor:
    """Return the log-probability of each image in nats, (N,).

    The probability of a shade is the logistic mass of its bin; the bins of 0 and 255 reach to
    infinity. With a and b the bin's ends in units of the scale,
    sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)), whose logarithm is exact
    however small the mass is.

    Args:
        parameters: (N, count_parameters(C, M), H, W).
        x: (N, C, H, W) in [0, 1], multiples of 1 / 255.
    """
    mixture = Mixture.of(parameters, x.shape[1])
    values = 2 * x - 1
    means = _shifted(mixture.means, mixture.shifts, values)
    inverse_scales = torch.exp(-mixture.log_scales)
    centred = values.unsqueeze(2) - means
    upper = inverse_scales * (centred + _HALF_BIN)
    lower = inverse_scales * (centred - _HALF_BIN)
    width = 2 * _HALF_BIN * inverse_scales
    lowest, highest = (x < _HALF_BIN / 2).unsqueeze(2), (x > 1 - _HALF_BIN / 2).unsqueeze(2)
    zero = torch.zeros((), dtype=x.dtype, device=x.device)
    log_mass = (
        torch.where(highest, zero, F.logsigmoid(upper))
        + torch.where(lowest, zero, F.logsigmoid(-lower))
        + torch.where(lowest | highest, zero, torch.log(-torch.expm1(-width)))
    )
    of_component = log_mass.sum(1) + F.log_softmax(mixture.logits, 1)
    return torch.logsumexp(of_component, 1).sum((1, 2))


def count_uniforms(channels: int, mixtures: int) -> int:
    """Return the uniform numbers that one pixel of a sample takes."""
    return mixtures + channels


def draw(parameters: Tensor, uniforms: Tensor, channels: int) -> Tensor:
    """Return a draw of each pixel, (N, C, H, W) in [-1, 1].

    As in the public code a draw is a clipped real number: rounding it to a shade is the caller's.

    Args:
        parameters: (N, count_parameters(C, M), H, W).
        uniforms: (N, count_uniforms(C, M), H, W) in [0, 1).
    """
    mixture = Mixture.of(parameters, channels)
    uniforms = uniforms.clamp(1e-5, 1 - 1e-5)
    mixtures = mixture.logits.shape[1]
    # The largest of the logits plus Gumbel noise is a draw of the mixture indicator.
    gumbel = -torch.log(-torch.log(uniforms[:, :mixtures]))
    chosen = (mixture.logits + gumbel).argmax(1, keepdim=True).unsqueeze(1)

    def of_chosen(values: Tensor) -> Tensor:
        return torch.take_along_dim(values, chosen, 2).squeeze(2)

    logistic = torch.logit(uniforms[:, mixtures:])
    centred = of_chosen(mixture.means) + torch.exp(of_chosen(mixture.log_scales)) * logistic
    shifts = of_chosen(mixture.shifts)
    values: list[Tensor] = []
    for channel in range(channels):
        value = centred[:, channel]
        for before, known in enumerate(values):
            value = value + shifts[:, math.comb(channel, 2) + before] * known
        values.append(value.clamp(-1, 1))
    return torch.stack(values, 1)


def _shifted(means: Tensor, shifts: Tensor, values: Tensor) -> Tensor:
    """Return the means (N, C, M, H, W) given the true values of the channels before each."""
    known = values.unsqueeze(2)
    moved = []
    for channel in range(values.shape[1]):
        mean = means[:, channel]
        for before in range(channel):
            mean = mean + shifts[:, math.comb(channel, 2) + before] * known[:, before]
        moved.append(mean)
    return torch.stack(moved, 1)

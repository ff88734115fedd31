"""Layers of a network as affine maps."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyrobust.certificates.graph import Affine, Map
from pyrobust.errors import UserError
from pyrobust.models.layers import Conv3x3


def weighted(module: nn.Conv2d | nn.Linear) -> Affine:
    """Return a convolution or a linear layer."""
    bias = module.bias
    if bias is not None and isinstance(module, nn.Conv2d):
        bias = bias.view(-1, 1, 1)
    if isinstance(module, nn.Conv2d) and module.padding_mode != "zeros":
        raise UserError(f"padding_mode is '{module.padding_mode}', but bounds need 'zeros'")
    # Read once: parametrized weights are computed at each access.
    weight = module.weight
    size = weight.abs()

    def apply(x: Tensor, weight: Tensor) -> Tensor:
        if isinstance(module, Conv3x3):
            return module.convolve(x, weight)
        if isinstance(module, nn.Linear):
            return F.linear(x, weight)
        return F.conv2d(
            x, weight, None, module.stride, module.padding, module.dilation, module.groups
        )

    terms = max(weight[0].numel(), weight[:, 0].numel())
    return Affine(lambda x: apply(x, weight), lambda x: apply(x, size), bias, terms)


def batch_norm(
    module: nn.BatchNorm1d | nn.BatchNorm2d,
    ndim: int,
    statistics: tuple[Tensor, Tensor] | None = None,
) -> Affine:
    """Return batch norm on inputs of `ndim` dimensions.

    Args:
        statistics: mean and variance, (C,) each; the running ones if None.
    """
    mean, variance = statistics or (module.running_mean, module.running_var)
    if mean is None or variance is None or (module.training and not statistics):
        raise UserError(
            "batch norm computes statistics of its batch, so the logits of an image depend on "
            "others; bounds need a network without it, or in evaluation mode"
        )
    shape = (-1, *(1,) * (ndim - 2))
    scale = torch.rsqrt(variance + module.eps)
    if module.affine:
        scale = scale * module.weight
    shift = -mean * scale
    if module.affine:
        shift = shift + module.bias
    factor = scale.view(shape)
    size = factor.abs()
    return Affine(lambda x: x * factor, lambda x: x * size, shift.view(shape), 8)


def average(apply: Map, value: Tensor, window: int) -> Affine:
    """Return a map whose weights are 0 or more: a mean, a pooling, or a rearrangement.

    Args:
        window: values that are averaged, and averages that one value is in, at most.

    Raises:
        UserError: its weights are negative, or its value for an image depends on others.
    """
    probe = torch.linspace(0, 1, value.numel(), dtype=value.dtype, device=value.device)
    probe = probe.view(value.shape)
    both, alone = apply(probe), apply(probe[:1])
    per_image = both.ndim > 0 and len(both) == 2 and both[:1].shape == alone.shape
    if not per_image or not torch.allclose(both[:1], alone):
        raise UserError(
            "a mean or a rearrangement is over the images of a batch, so the logits of an image "
            "depend on others; keep dimension 0 out of it"
        )
    if (both < 0).any():
        raise UserError("an average has negative weights; give it a positive divisor_override")
    return Affine(apply, apply, None, window + 2)


def largest_window(pool: nn.Module, value: Tensor) -> int:
    """Return how many values a pooling averages, and how many averages one value is in, at most."""
    if isinstance(pool, nn.Flatten):
        return 1
    if isinstance(pool, nn.AvgPool2d):
        size = pool.kernel_size
        return math.prod(size) if isinstance(size, tuple) else size**2
    return value[0].numel()

"""From a spec to a network, and its initial weights."""

import math

import torch
from torch import nn

from pyrobust.config.fields import parse_wide
from pyrobust.models.layers import ImageClassifier
from pyrobust.models.preact_resnet import PreActResNet
from pyrobust.models.spec import ModelSpec
from pyrobust.models.wide_resnet import WideResNet


def build_model(spec: ModelSpec) -> ImageClassifier:
    """Return the network of `spec` in evaluation mode, with arbitrary weights."""
    channels = spec.image_shape[2]
    of_task = (spec.num_classes, channels, spec.activation, spec.mean, spec.std)
    wide = parse_wide(spec.architecture)
    if wide is not None:
        depth, width = wide
        return WideResNet(depth, width, *of_task).eval()
    return PreActResNet(int(spec.architecture.removeprefix("resnet-")), *of_task).eval()


@torch.no_grad()
def initialize(model: nn.Module, generator: torch.Generator, zero_logits: bool) -> None:
    """Draw the weights as the authors' framework does (Haiku's defaults).

    Convolutions and the last layer: normal with std 1 / sqrt(fan_in), cut at two std; biases 0;
    batch norm: scale 1, offset 0. `zero_logits` starts the last layer at zero instead.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            std = 1 / math.sqrt(layer.weight[0].numel())
            # Drawn in a fixed memory order, so that the weights do not depend on channels_last.
            weight = torch.empty(layer.weight.shape)
            nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std, generator=generator)
            layer.weight.copy_(weight)
            if layer.bias is not None:
                layer.bias.zero_()
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
    if zero_logits and isinstance(model, ImageClassifier):
        model.logits.weight.zero_()

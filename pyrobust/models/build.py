"""From a spec to a network with its initial weights, and to a logits function."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pyrobust.config.fields import Precision, parse_wide
from pyrobust.models.imported import ImportedClassifier, build_imported
from pyrobust.models.layers import ImageClassifier
from pyrobust.models.preact_resnet import PreActResNet
from pyrobust.models.spec import ModelSpec
from pyrobust.models.wide_resnet import WideResNet


def build_model(spec: ModelSpec) -> ImageClassifier:
    """Return the network of `spec` in evaluation mode, with arbitrary weights.

    Raises:
        UserError: the architecture is MODULE:NAME and cannot be constructed.
    """
    if spec.imported:
        return build_imported(spec)
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


LogitsFn = Callable[[Tensor], Tensor]


def logits_in(precision: Precision, model: ImageClassifier) -> LogitsFn:
    """Return x (N, C, H, W) in [0, 1] -> logits (N, K) in float32.

    Args:
        precision: float32, or bfloat16 for passes up to the penultimate layer (of an imported
            network, all layers). The losses, the weights and the gradient of x stay in float32.
    """
    if precision == "float32":
        return model

    def logits(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            if isinstance(model, ImportedClassifier):  # its last layer is not known
                return model(x).float()  # type: ignore[no-any-return]
            features = model.features(x)
        return model.logits(features)  # type: ignore[no-any-return]

    return logits

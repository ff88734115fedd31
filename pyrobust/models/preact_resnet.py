"""Pre-activation ResNet (He et al. 2016) with the parameter layout of the published weights."""

import torch
from torch import Tensor, nn

from pyrobust.models.batch_norm import BatchNorm
from pyrobust.models.layers import Conv3x3, ImageClassifier, make_activation

_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


class PreActBlock(nn.Module):
    """Pre-activation block; the authors' shortcut is a 3×3 convolution of the raw input."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, activation: str) -> None:
        super().__init__()
        self.batchnorm_0 = BatchNorm(in_channels)
        self.relu_0 = make_activation(activation)
        self.conv_2d_1 = Conv3x3(in_channels, out_channels, stride)
        self.batchnorm_1 = BatchNorm(out_channels)
        self.relu_1 = make_activation(activation)
        self.conv_2d_2 = Conv3x3(out_channels, out_channels)
        self.shortcut = (
            Conv3x3(in_channels, out_channels, stride)
            if in_channels != out_channels or stride != 1
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H / stride, W / stride)."""
        shortcut = x if self.shortcut is None else self.shortcut(x)
        out = self.conv_2d_1(self.relu_0(self.batchnorm_0(x)))
        out = self.conv_2d_2(self.relu_1(self.batchnorm_1(out)))
        return torch.add(out, shortcut)


class PreActResNet(ImageClassifier):
    """Pre-activation ResNet-18 or -34 for any input size and number of channels."""

    def __init__(
        self,
        depth: int,
        num_classes: int,
        in_channels: int,
        activation: str,
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        super().__init__(mean, std)
        blocks = _BLOCKS[depth]
        self.conv_2d = Conv3x3(in_channels, 64)
        self.layer_0 = _make_layer(blocks[0], 64, 64, 1, activation)
        self.layer_1 = _make_layer(blocks[1], 64, 128, 2, activation)
        self.layer_2 = _make_layer(blocks[2], 128, 256, 2, activation)
        self.layer_3 = _make_layer(blocks[3], 256, 512, 2, activation)
        self.batchnorm = BatchNorm(512)
        self.relu = make_activation(activation)
        self.logits = nn.Linear(512, num_classes)

    def body(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, 512, H / 8, W / 8)."""
        out = self.layer_1(self.layer_0(self.conv_2d(x)))
        out = self.layer_3(self.layer_2(out))
        return out  # type: ignore[no-any-return]


def _make_layer(
    num_blocks: int, in_channels: int, out_channels: int, stride: int, activation: str
) -> nn.Sequential:
    first = PreActBlock(in_channels, out_channels, stride, activation)
    others = [PreActBlock(out_channels, out_channels, 1, activation) for _ in range(num_blocks - 1)]
    return nn.Sequential(first, *others)

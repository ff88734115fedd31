"""WideResNet (Zagoruyko and Komodakis 2016) with the parameter layout of the published weights.

The layout (`init_conv`, `layer.G.block.I.{batchnorm_0,conv_0,batchnorm_1,conv_1,shortcut}`,
`batchnorm`, `logits`) is that of the PyTorch files that Gowal et al. released and of RobustBench.
"""

import torch
from torch import Tensor, nn

from pyrobust.models.batch_norm import BatchNorm
from pyrobust.models.layers import Conv3x3, ImageClassifier, make_activation


class WideBlock(nn.Module):
    """Pre-activation block; where the width changes, both branches start at the activation."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, activation: str) -> None:
        super().__init__()
        self.batchnorm_0 = BatchNorm(in_channels)
        self.relu_0 = make_activation(activation)
        self.conv_0 = Conv3x3(in_channels, out_channels, stride)
        self.batchnorm_1 = BatchNorm(out_channels)
        self.relu_1 = make_activation(activation)
        self.conv_1 = Conv3x3(out_channels, out_channels)
        self.shortcut = (
            nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)
            if in_channels != out_channels
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H / stride, W / stride)."""
        activated = self.relu_0(self.batchnorm_0(x))
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        residual = self.conv_1(self.relu_1(self.batchnorm_1(self.conv_0(activated))))
        return torch.add(shortcut, residual)


class BlockGroup(nn.Module):
    """Blocks of one width; the first one changes width and size."""

    def __init__(
        self, num_blocks: int, in_channels: int, out_channels: int, stride: int, activation: str
    ) -> None:
        super().__init__()
        first = WideBlock(in_channels, out_channels, stride, activation)
        others = [
            WideBlock(out_channels, out_channels, 1, activation) for _ in range(num_blocks - 1)
        ]
        self.block = nn.Sequential(first, *others)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the blocks one after another."""
        out: Tensor = self.block(x)
        return out


class WideResNet(ImageClassifier):
    """WideResNet of any depth 6n + 4, width, input size and number of channels."""

    def __init__(
        self,
        depth: int,
        width: int,
        num_classes: int,
        in_channels: int,
        activation: str,
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        super().__init__(mean, std)
        num_blocks = (depth - 4) // 6
        widths = [16, 16 * width, 32 * width, 64 * width]
        self.init_conv = Conv3x3(in_channels, widths[0])
        self.layer = nn.Sequential(
            BlockGroup(num_blocks, widths[0], widths[1], 1, activation),
            BlockGroup(num_blocks, widths[1], widths[2], 2, activation),
            BlockGroup(num_blocks, widths[2], widths[3], 2, activation),
        )
        self.batchnorm = BatchNorm(widths[3])
        self.relu = make_activation(activation)
        self.logits = nn.Linear(widths[3], num_classes)

    def body(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, 64 × width, H / 4, W / 4)."""
        out: Tensor = self.layer(self.init_conv(x))
        return out

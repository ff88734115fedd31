"""The discriminator of the CIFAR settings: plain convolutions, no residual paths."""

import math

import torch
from torch import Tensor, nn

from pyrobust.generators.stylegan2.layers import Conv, Linear
from pyrobust.generators.stylegan2.synthesis import Mapping

_MAPPING_LAYERS = 8
_LAST = 4


class DiscriminatorBlock(nn.Module):
    """Two convolutions, the second of which halves; the first block takes the image in."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.fromrgb = Conv(channels, width, 1) if channels else None
        self.conv0 = Conv(width, width, 3)
        self.conv1 = Conv(width, width, 3, halve=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C or width, H, W) to (N, width, H / 2, W / 2)."""
        out = x if self.fromrgb is None else self.fromrgb(x)
        out = self.conv1(self.conv0(out))
        return out  # type: ignore[no-any-return]


class Epilogue(nn.Module):
    """Minibatch deviation, one convolution and two linear layers at 4×4."""

    def __init__(self, width: int, group_size: int) -> None:
        super().__init__()
        self.group_size = group_size
        self.conv = Conv(width + 1, width, 3)
        self.fc = Linear(width * _LAST**2, width, activate=True)
        self.out = Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width, 4, 4) to (N, width)."""
        out = self.conv(torch.cat([x, batch_deviation(x, self.group_size)], 1))
        return self.out(self.fc(out.flatten(1)))  # type: ignore[no-any-return]


def batch_deviation(x: Tensor, group_size: int) -> Tensor:
    """Return the mean standard deviation over each group of images as a map, (N, 1, H, W).

    It lets the discriminator see that all fakes look alike (Karras et al. 2018). Images n and
    n + N / group_size share a group.

    Args:
        x: (N, C, H, W).
        group_size: at most; a group has as many images as divide both N and it.
    """
    size, _, height, width = x.shape
    grouped = x.reshape(math.gcd(group_size, size), -1, *x.shape[1:])
    deviation = (grouped.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
    return deviation.repeat(len(grouped))[:, None, None, None].expand(-1, 1, height, width)


_GROUP_SIZE = 32


class DiscriminatorNetwork(nn.Module):
    """Image and class to a score; the class is compared by projection.

    Args:
        side: height and width of the images, 4 times a power of two.
        group_size: images that share a minibatch deviation; 32 in the authors' settings for CIFAR.
    """

    def __init__(
        self, side: int, channels: int, num_classes: int, width: int, group_size: int = _GROUP_SIZE
    ) -> None:
        super().__init__()
        blocks = int(math.log2(side // _LAST))
        self.blocks = nn.Sequential(
            *(DiscriminatorBlock(0 if number else channels, width) for number in range(blocks))
        )
        self.epilogue = Epilogue(width, group_size)
        self.mapping = Mapping(0, num_classes, width, _MAPPING_LAYERS)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] and labels (N,) to scores (N,)."""
        features = self.epilogue(self.blocks(images))
        projection: Tensor = (features * self.mapping(None, labels)).sum(1)
        return projection / math.sqrt(features.shape[1])

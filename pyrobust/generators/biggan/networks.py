"""BigGAN's two networks at the size that Brock et al. give for CIFAR-10: no attention.

Neither has spectral norm of its own: `add_spectral_norm` adds it for training.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyrobust.generators.biggan.layers import ConditionalBatchNorm, OutputBatchNorm

# Height and width at which the generator starts.
_BOTTOM = 4

# The discriminator's blocks that halve their output, of its four.
_MAX_HALVINGS = 2
_NUM_BLOCKS = 4


class GeneratorBlock(nn.Module):
    """Residual block that doubles height and width."""

    def __init__(self, in_channels: int, out_channels: int, num_classes: int) -> None:
        super().__init__()
        self.bn1 = ConditionalBatchNorm(in_channels, num_classes)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.bn2 = ConditionalBatchNorm(out_channels, num_classes)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, 2 H, 2 W)."""
        enlarged = F.interpolate(F.relu(self.bn1(x, labels)), scale_factor=2)
        out: Tensor = self.conv2(F.relu(self.bn2(self.conv1(enlarged), labels)))
        # A 1×1 convolution and nearest-neighbour enlargement commute; this order is the cheaper.
        return out + F.interpolate(self.shortcut(x), scale_factor=2)


class GeneratorNetwork(nn.Module):
    """Latent and class to an image.

    Args:
        side: height and width of the images, 4 times a power of two.
        width: channels of every block.
    """

    def __init__(
        self, side: int, channels: int, num_classes: int, latent_size: int, width: int
    ) -> None:
        super().__init__()
        self.latent_size = latent_size
        self.linear = nn.Linear(latent_size, width * _BOTTOM**2)
        self.blocks = nn.ModuleList(
            GeneratorBlock(width, width, num_classes)
            for _ in range(int(math.log2(side // _BOTTOM)))
        )
        self.bn = OutputBatchNorm(width)
        self.conv = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Map latents (N, latent_size) and labels (N,) to images (N, C, H, W) in [-1, 1]."""
        out = self.linear(latents).unflatten(1, (-1, _BOTTOM, _BOTTOM))
        for block in self.blocks:
            out = block(out, labels)
        return torch.tanh(self.conv(F.relu(self.bn(out))))


class DiscriminatorBlock(nn.Module):
    """Residual block, whose output is halved where asked for."""

    def __init__(self, in_channels: int, out_channels: int, first: bool, halve: bool) -> None:
        super().__init__()
        self.first, self.halve = first, halve
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1) if first or halve else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H, W), or half of H and W."""
        out: Tensor = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        if not self.halve:
            return torch.add(out, self.shortcut(x))
        # Averages and 1×1 convolutions commute; this order is the cheaper.
        return torch.add(F.avg_pool2d(out, 2), self.shortcut(F.avg_pool2d(x, 2)))


class DiscriminatorNetwork(nn.Module):
    """Image and class to a score: the class is compared by projection (Miyato & Koyama 2018)."""

    def __init__(self, side: int, channels: int, num_classes: int, width: int) -> None:
        super().__init__()
        halvings = min(int(math.log2(side // _BOTTOM)), _MAX_HALVINGS)
        self.blocks = nn.Sequential(
            *(
                DiscriminatorBlock(
                    width if number else channels, width, number == 0, number < halvings
                )
                for number in range(_NUM_BLOCKS)
            )
        )
        self.linear = nn.Linear(width, 1)
        self.embedding = nn.Embedding(num_classes, width)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] and labels (N,) to scores (N,)."""
        features = F.relu(self.blocks(images)).sum((2, 3))
        projection = (self.embedding(labels) * features).sum(1)
        return torch.add(self.linear(features).squeeze(1), projection)

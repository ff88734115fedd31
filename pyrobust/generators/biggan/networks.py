"""The networks of BigGAN (Brock et al. 2019): layers, generator and discriminator.

`add_spectral_norm` adds spectral norm to them for training.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

# Epsilon of the power iteration for CIFAR.
_SPECTRAL_EPS = 1e-8


class StandingBatchNorm(nn.Module):
    """Batch norm without gain or bias, by batch statistics in training and standing ones after it.

    Training tracks no statistics. Those of the averaged weights are gathered after training, in
    `gathered_statistics`, as plain means over several batches.
    """

    standing_mean: Tensor
    standing_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gathering: int | None = None  # batches that the standing statistics hold, if gathering
        self.register_buffer("standing_mean", torch.zeros(channels))
        self.register_buffer("standing_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, channels, H, W)."""
        if not self.training:
            return F.batch_norm(x, self.standing_mean, self.standing_var)
        if self.gathering is None:
            return F.batch_norm(x, None, None, training=True)
        share = 1 / (self.gathering + 1)
        self.gathering += 1
        return F.batch_norm(x, self.standing_mean, self.standing_var, training=True, momentum=share)


@contextmanager
def gathered_statistics(model: nn.Module) -> Iterator[None]:
    """Set the standing statistics of `model` to the means over its batches in the block."""
    norms = [module for module in model.modules() if isinstance(module, StandingBatchNorm)]
    was_training = model.training
    model.train()
    for norm in norms:
        norm.gathering = 0
    try:
        yield
    finally:
        for norm in norms:
            norm.gathering = None
        model.train(was_training)


class ConditionalBatchNorm(nn.Module):
    """Batch norm with a gain and bias for each class."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = StandingBatchNorm(channels)
        self.gain = nn.Embedding(num_classes, channels)
        self.bias = nn.Embedding(num_classes, channels)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Normalise (N, channels, H, W); labels are (N,) int64."""
        gain = 1 + self.gain(labels)[..., None, None]
        return torch.addcmul(self.bias(labels)[..., None, None], self.norm(x), gain)


class OutputBatchNorm(nn.Module):
    """Batch norm with one gain and bias for all classes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = StandingBatchNorm(channels)
        self.gain = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, channels, H, W)."""
        return torch.addcmul(self.bias[:, None, None], self.norm(x), self.gain[:, None, None])


def add_spectral_norm(model: nn.Module, embeddings: bool) -> None:
    """Divide every weight matrix of `model` by its largest singular value (Miyato et al. 2018).

    Each pass in training mode makes one step of the power iteration.

    Args:
        embeddings: whether embeddings are divided too; the generator's are not.
    """
    kinds = (nn.Conv2d, nn.Linear, nn.Embedding) if embeddings else (nn.Conv2d, nn.Linear)
    for module in list(model.modules()):
        if isinstance(module, kinds):
            spectral_norm(module, eps=_SPECTRAL_EPS)


def state_without_spectral_norm(model: nn.Module) -> dict[str, Tensor]:
    """Return the state dict with spectral norm folded into plain weights."""
    state = {
        name: value
        for name, value in model.state_dict().items()
        if ".parametrizations." not in name
    }
    for name, module in model.named_modules():
        if is_parametrized(module, "weight"):
            state[f"{name}.weight"] = module.weight
    return state


@torch.no_grad()
def initialize(model: nn.Module, generator: torch.Generator, orthogonal: bool) -> None:
    """Draw the weights of all layers: orthogonal as in the paper, else N(0, 0.02).

    Biases start at zero. Call it before `add_spectral_norm`.
    """
    for module in model.modules():
        if not isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding):
            continue
        if orthogonal:
            nn.init.orthogonal_(module.weight, generator=generator)
        else:
            nn.init.normal_(module.weight, 0.0, 0.02, generator=generator)
        if not isinstance(module, nn.Embedding) and module.bias is not None:
            module.bias.zero_()


# Height and width at which the generator starts.
_BOTTOM = 4

# The discriminator has four blocks, of which at most two halve their output.
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
        # 1×1 convolution and nearest-neighbour upsampling commute; this order is cheaper.
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
        self.linear = nn.Linear(latent_size, width * _BOTTOM**2)
        self.blocks = nn.ModuleList(
            GeneratorBlock(width, width, num_classes)
            for _ in range(int(math.log2(side // _BOTTOM)))
        )
        self.bn = OutputBatchNorm(width)
        self.conv = nn.Conv2d(width, channels, 3, padding=1)

    @property
    def num_normals(self) -> int:
        """Normal numbers that determine an image of a class: the latent vector."""
        return self.linear.in_features

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Map latents (N, latent_size) and labels (N,) to images (N, C, H, W) in [-1, 1]."""
        out = self.linear(latents).unflatten(1, (-1, _BOTTOM, _BOTTOM))
        for block in self.blocks:
            out = block(out, labels)
        return torch.tanh(self.conv(F.relu(self.bn(out))))


class DiscriminatorBlock(nn.Module):
    """Residual block, which can halve its output."""

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
        # Average pooling and 1×1 convolution commute; this order is cheaper.
        return torch.add(F.avg_pool2d(out, 2), self.shortcut(F.avg_pool2d(x, 2)))


class DiscriminatorNetwork(nn.Module):
    """Image and class to a score, by projection (Miyato and Koyama 2018)."""

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

"""Layers of BigGAN: batch norm with standing statistics, convolutions with spectral norm."""

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
    """Batch norm without gain or bias: by the batch in training, by standing statistics after it.

    Training tracks nothing. Averaged weights never saw a batch of their own, so their statistics
    are gathered after it, in `gathered_statistics`, as plain means over several batches.
    """

    standing_mean: Tensor
    standing_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.gathering: int | None = None  # batches that the standing statistics hold, if gathering
        self.register_buffer("standing_mean", torch.zeros(channels))
        self.register_buffer("standing_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, channels, H, W)."""
        if not self.training:
            return F.batch_norm(x, self.standing_mean, self.standing_var, eps=self.eps)
        if self.gathering is None:
            return F.batch_norm(x, None, None, training=True, eps=self.eps)
        share = 1 / (self.gathering + 1)
        self.gathering += 1
        return F.batch_norm(
            x, self.standing_mean, self.standing_var, training=True, momentum=share, eps=self.eps
        )


@contextmanager
def gathered_statistics(model: nn.Module) -> Iterator[None]:
    """Make the standing statistics of `model` the mean over the batches that it sees inside."""
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
    """Batch norm whose gain and bias are those of the image's class."""

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
    """Return the state dict of the same network with the divided weights as plain weights."""
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

    Biases start at zero. The model has no spectral norm yet.
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

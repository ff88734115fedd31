"""The mapping network: latent and class to the vector that all styles come from."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyrobust.generators.stylegan2.layers import Linear, normalize_second_moment

# Learning rate of the mapping as a multiple of the network's.
_RATE = 0.01


class Mapping(nn.Module):
    """Fully connected layers, `fc0` to the last; `embed` takes the class in.

    Args:
        latent_size: 0 for the discriminator's, which maps the class alone.
    """

    def __init__(self, latent_size: int, num_classes: int, width: int, num_layers: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.embed = Linear(num_classes, width)
        sizes = [latent_size + width] + [width] * num_layers
        self._layers = [f"fc{number}" for number in range(num_layers)]
        for name, before, after in zip(self._layers, sizes, sizes[1:], strict=False):
            self.add_module(name, Linear(before, after, activate=True, rate=_RATE))

    def forward(self, latents: Tensor | None, labels: Tensor) -> Tensor:
        """Map latents (N, latent_size), if any, and labels (N,) to (N, width)."""
        one_hot = F.one_hot(labels, self.num_classes).to(self.embed.weight.dtype)
        out = normalize_second_moment(self.embed(one_hot))
        if latents is not None:
            out = torch.cat([normalize_second_moment(latents), out], 1)
        for name in self._layers:
            out = self.get_submodule(name)(out)
        return out

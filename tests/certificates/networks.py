"""Random small networks of every kind whose bounds are computed."""

import torch
from torch import Tensor, nn

from pyrobust.models import ModelSpec, build_model
from pyrobust.models.batch_norm import BatchNorm

SHAPE = (1, 6, 6)


class Residual(nn.Module):
    """A block with a shortcut, batch norm and average pooling."""

    def __init__(self, activation: type[nn.Module]) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.norm, self.act = nn.BatchNorm2d(4), activation()
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.pool, self.last = nn.AvgPool2d(2), nn.Linear(36, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first((x - 0.3) / 0.5)
        x = x + self.second(self.act(self.norm(x)))
        return self.last(torch.flatten(self.pool(self.act(x)), 1))


def random_network(seed: int) -> nn.Module:
    """Return a network in evaluation mode with random weights and batch statistics."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        activation = (nn.ReLU, nn.SiLU)[seed % 2]
        kinds = (
            lambda: nn.Sequential(
                nn.Flatten(), nn.Linear(36, 12), activation(), nn.Linear(12, 8), activation(),
                nn.Linear(8, 4),
            ),
            lambda: nn.Sequential(
                nn.Conv2d(1, 3, 3, stride=2), activation(), nn.AdaptiveAvgPool2d(1),
                nn.Flatten(), nn.Linear(3, 4),
            ),
            lambda: Residual(activation),
        )  # fmt: skip
        network = kinds[seed // 2 % 3]()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.3)
        for parameter in network.parameters():
            parameter.data *= 1.5
    return network.eval().requires_grad_(False)


def of_this_project(architecture: str, activation: str, seed: int) -> nn.Module:
    """Return a network of this project for 8×8 images with random weights and statistics."""
    spec = ModelSpec(architecture, activation, 4, (8, 8, 1), (0.4,), (0.3,))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_model(spec)
        for module in network.modules():
            if isinstance(module, BatchNorm):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 2)
        nn.init.normal_(network.logits.weight, 0, 0.5)
    return network.eval().requires_grad_(False)

"""Networks of random layers: every kind, option and spelling for which bounds are computed."""

import random
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHAPE = (2, 6, 6)
CLASSES = 4

FLATTENINGS: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda x: torch.flatten(x, 1),
    lambda x: x.view(x.size(0), -1),
    lambda x: x.reshape(x.shape[0], x.size()[1] * x.shape[2] * x.shape[3]),
    lambda x: x.permute(0, 2, 3, 1).contiguous().view(-1, x.size(1) * x.size(2) * x.size(3)),
    lambda x: x.transpose(1, 3).flatten(1),
    lambda x: torch.mean(x, (2, 3)),
    lambda x: F.avg_pool2d(x, x.size()[2:]).flatten(1),
    lambda x: x.flatten(start_dim=1),
)


class Affinely(nn.Module):
    """Normalisation in front, in one of the usual spellings."""

    def __init__(self, spelling: int) -> None:
        super().__init__()
        self.spelling = spelling
        self.register_buffer("mean", torch.tensor([0.4, 0.6]).view(1, 2, 1, 1))
        self.register_buffer("std", torch.tensor([0.3, -0.5]).view(2, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        if self.spelling == 0:
            return (x - self.mean) / self.std
        if self.spelling == 1:
            return torch.add(2 * x, -1)
        return torch.div(torch.sub(x, 0.5), 0.25)


class Block(nn.Module):
    """Two branches that meet in a sum; `spelling` selects how activation and sum are written."""

    def __init__(self, body: nn.Module, shortcut: nn.Module, spelling: int) -> None:
        super().__init__()
        self.body, self.shortcut, self.spelling = body, shortcut, spelling
        self.act = (nn.ReLU(inplace=spelling % 2 == 1), nn.SiLU(inplace=spelling % 2 == 1))[
            spelling // 2 % 2
        ]

    def forward(self, x: Tensor) -> Tensor:
        if self.spelling >= 4:  # before the branches, as in pre-activation networks
            out = self.act(x)
            out = self.body(out)
            out += self.shortcut(x)
            return out
        out = self.body(x) + self.shortcut(x)
        if self.spelling == 0:
            return F.relu(out, inplace=True)
        return self.act(out)


class Flattened(nn.Module):
    def __init__(self, how: int) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        return FLATTENINGS[self.how](x)


def varied_network(seed: int) -> nn.Module:
    """Return a network in evaluation mode with random layers, weights and batch statistics."""
    pick = random.Random(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        x = torch.rand(3, *SHAPE)

        def add(layer: nn.Module) -> None:
            nonlocal x
            layers.append(layer.eval())
            with torch.no_grad():
                x = layer(x.clone())

        add(Affinely(pick.randrange(3)))
        for _ in range(pick.choice([1, 2, 3])):
            add(_stage(pick, x.shape[1], x.shape[2]))
        add(Flattened(pick.randrange(len(FLATTENINGS))))
        if pick.random() < 0.3:
            add(_with_statistics(nn.BatchNorm1d(x.shape[1]), pick))
        if pick.random() < 0.5:
            add(nn.Linear(x.shape[1], 7, bias=pick.random() < 0.5))
            add(pick.choice([nn.ReLU(), nn.SiLU(inplace=True)]))
            add(nn.Dropout(0.5))
        add(nn.Linear(x.shape[1], CLASSES))
        network = nn.Sequential(*layers)
        for parameter in network.parameters():
            parameter.data *= 1.5
    return network.eval().requires_grad_(False)


def _stage(pick: random.Random, channels: int, side: int) -> nn.Module:
    kind = pick.choice(["conv", "conv", "pool", "block", "block"])
    if kind == "pool":
        kernel = min(pick.choice([1, 2, 3]), side)
        return pick.choice([
            nn.AvgPool2d(kernel, pick.choice([1, 2]), kernel // 2, pick.random() < 0.5,
                         pick.random() < 0.5),
            nn.AdaptiveAvgPool2d(min(pick.choice([1, 2, 3]), side)),
        ])  # fmt: skip
    if kind == "block":
        out = pick.choice([channels, 4])
        body = nn.Sequential(
            nn.Conv2d(channels, 4, 3, padding="same"),
            _with_statistics(nn.BatchNorm2d(4, affine=pick.random() < 0.5), pick),
            nn.ReLU(inplace=True),
            nn.Conv2d(4, out, 3, padding=1, bias=False),
        )
        shortcut = nn.Identity() if out == channels else nn.Conv2d(channels, out, 1)
        return Block(body, shortcut, pick.randrange(8))
    groups = pick.choice([1, channels])
    kernel = min(pick.choice([1, 2, 3]), side)
    dilation = 2 if 2 * (kernel - 1) < side else 1
    conv = nn.Conv2d(
        channels, pick.choice([2, 4]) * channels, kernel, pick.choice([1, 2]),
        pick.choice([0, 1]), pick.choice([1, dilation]), groups, bias=pick.random() < 0.5,
    )  # fmt: skip
    return nn.Sequential(conv, pick.choice([nn.ReLU(), nn.SiLU(), nn.Identity()]))


def _with_statistics(norm: nn.BatchNorm1d | nn.BatchNorm2d, pick: random.Random) -> nn.Module:
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.normal_(0, 0.3)
    norm.running_var.uniform_(0.5, 2)
    if norm.affine:
        nn.init.uniform_(norm.weight, -1.5, 1.5)
        nn.init.normal_(norm.bias, 0, 0.3)
    return norm

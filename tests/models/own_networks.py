"""Networks that a user might bring, and some that cannot be trained."""

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer


class Grouped(nn.Module):
    """Group norm, and a last layer without a name that we know."""

    def __init__(self, num_classes: int, width: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, stride=2)
        self.norm = nn.GroupNorm(2, width)
        self.classify = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(torch.relu(self.norm(self.stem(x))).mean((2, 3)))


class Transformer(VisionTransformer):
    """torchvision's vision transformer (layer norm) on grey images."""

    def __init__(self, num_classes: int, hidden_dim: int = 8) -> None:
        super().__init__(
            image_size=8,
            patch_size=4,
            num_layers=1,
            num_heads=2,
            hidden_dim=hidden_dim,
            mlp_dim=16,
            num_classes=num_classes,
        )

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.expand(-1, 3, -1, -1))


class Normed(nn.BatchNorm2d):
    """A batch norm with an activation, as timm has one."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(super().forward(x))


class Batched(Grouped):
    """A subclass of batch norm, and dense batch norm after pooling."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.norm = Normed(4)
        self.classify = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, num_classes))


class Volumetric(nn.Module):
    """A convolution over channels, which has no layout with channels last."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, stride=2)
        self.mix = nn.Conv3d(1, 2, (4, 1, 1))
        self.classify = nn.Linear(2, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(torch.relu(self.mix(self.stem(x)[:, None])).mean((2, 3, 4)))


class Convolutional(nn.Module):
    """No linear layer at the end."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.classify = nn.Conv2d(1, num_classes, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(x).flatten(1)


class Unused(Grouped):
    """A parameter that the loss does not depend on."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.spare = nn.Parameter(torch.zeros(3))


class Failing(nn.Module):
    """Raises in forward."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("this network wants colour")


class Unaware(Grouped):
    """Does not take the number of classes."""

    def __init__(self) -> None:
        super().__init__(7)


def with_layer(layer: nn.Module) -> nn.Module:
    """Return a network that holds `layer` where it cannot be trained."""
    network = Grouped(10)
    network.norm = layer
    return network


def synchronized() -> nn.Module:
    return with_layer(nn.SyncBatchNorm(4))


def stateless() -> nn.Module:
    return with_layer(nn.BatchNorm2d(4, track_running_stats=False))


def averaging_instances() -> nn.Module:
    return with_layer(nn.InstanceNorm2d(4, track_running_stats=True))


def double() -> nn.Module:
    return Grouped(10).double()


def unannotated():  # type: ignore[no-untyped-def]
    return Grouped(10)

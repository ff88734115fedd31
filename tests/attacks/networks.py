"""Small networks for the tests of attacks; none is trained."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

SHAPE = (1, 8, 8)


def smooth_network(
    num_classes: int = 5, seed: int = 0, dtype: torch.dtype = torch.float64
) -> nn.Sequential:
    """Return a random network without kinks, whose logits differ enough to be attacked."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(SHAPE[0], 8, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(8, 8, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(128, num_classes),
        )
    for parameter in network.parameters():
        parameter.data *= 3
    return network.to(dtype).eval().requires_grad_(False)


def random_images(
    count: int, seed: int = 0, dtype: torch.dtype = torch.float64, shape: tuple[int, ...] = SHAPE
) -> Tensor:
    """Return pixels uniform in [0.1, 0.9]."""
    random = torch.Generator().manual_seed(seed)
    return 0.1 + 0.8 * torch.rand((count, *shape), generator=random, dtype=dtype)


class Recorder:
    """A logits function that remembers the points it was asked about."""

    def __init__(self, logits_fn: Callable[[Tensor], Tensor]) -> None:
        self.logits_fn = logits_fn
        self.points: list[Tensor] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.points.append(x.detach().clone())
        return self.logits_fn(x)

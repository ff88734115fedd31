"""Linear networks, whose robust accuracy has a closed form."""

import torch
from torch import Tensor


class LinearNetwork:
    """Logits W x + b over flattened pixels.

    Args:
        weight: (K, C * H * W).
        bias: (K,).
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight, self.bias = weight, bias

    def __call__(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T + self.bias

    def is_robust(self, x: Tensor, labels: Tensor, norm: str, epsilon: float) -> Tensor:
        """Return which images no perturbation breaks, (N,) bool.

        With w = W_y - W_j, class j stays below y if and only if z_y - z_j > epsilon ||w||_dual;
        the pixels must be at least epsilon away from 0 and 1.
        """
        logits = self(x.double()) if self.weight.dtype == torch.float64 else self(x)
        gaps = logits.gather(1, labels[:, None]) - logits
        differences = self.weight[labels][:, None] - self.weight
        order = {"linf": 1, "l2": 2, "l1": torch.inf}[norm]
        losses = epsilon * torch.linalg.vector_norm(differences, order, dim=2)
        others = torch.arange(len(self.bias)) != labels[:, None]
        return ((gaps > losses) | ~others).all(1)


def linear_task(
    num_classes: int, num_images: int, epsilon: float, seed: int, shape: tuple[int, ...] = (1, 6, 6)
) -> tuple[LinearNetwork, Tensor, Tensor]:
    """Return a random network, images in the middle of [0, 1], and the network's own labels."""
    random = torch.Generator().manual_seed(seed)
    pixels = torch.Size(shape).numel()
    weight = torch.randn((num_classes, pixels), generator=random)
    bias = 0.1 * torch.randn((num_classes,), generator=random)
    network = LinearNetwork(weight, bias - weight.sum(1) / 2)
    span = 0.5 - epsilon - 1e-3
    x = 0.5 + span * (2 * torch.rand((num_images, *shape), generator=random) - 1)
    return network, x, network(x).argmax(1)

"""The non-saturating loss and the R1 penalty (Mescheder et al. 2018)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return -E[log sigmoid(D(real))] - E[log(1 - sigmoid(D(fake)))]; scores are (N,)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """Return -E[log sigmoid(D(fake))]; scores are (N,)."""
    return F.softplus(-fake).mean()


def r1_penalty(scores_of: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Return half the mean squared norm of the scores' gradient at real images.

    Args:
        scores_of: images to scores (N,).
        images: (N, C, H, W).
    """
    images = images.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(scores_of(images).sum(), images, create_graph=True)
    return 0.5 * gradient.square().sum((1, 2, 3)).mean()

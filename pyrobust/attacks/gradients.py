"""The loss of an attack and its gradient with respect to the images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pyrobust import ops
from pyrobust.attacks.passes import FixedPasses, LogitsFn

# (logits, labels[, targets]) -> (loss (N,), gradient (N, K)); an attack maximises it.
LossFn = Callable[..., tuple[Tensor, Tensor]]

Loss = Literal["cross_entropy", "margin", "dlr"]
TargetedLoss = Literal["targeted_margin", "targeted_dlr"]


@dataclass(frozen=True)
class Gradient:
    """What one pass through the network and back tells about a batch of points."""

    logits: Tensor  # (N, K)
    loss: Tensor  # (N,)
    grad: Tensor  # of the shape of the points


def loss_fn(name: Loss | TargetedLoss) -> LossFn:
    """Return the loss of that name."""
    losses: dict[str, LossFn] = {
        "cross_entropy": ops.cross_entropy,
        "margin": ops.margin,
        "dlr": ops.dlr,
        "targeted_margin": ops.targeted_margin,
        "targeted_dlr": ops.targeted_dlr,
    }
    return losses[name]


def gradient(logits_fn: LogitsFn, x: Tensor, loss: LossFn, *goals: Tensor) -> Gradient:
    """Return logits, loss and the loss's gradient at x (N, C, H, W).

    Only the gradient of x is computed. A network that x does not reach, or only through steps
    without derivative, gives zeros: the attack then stands still, and the checks say so.

    Args:
        goals: labels (N,), and targets (N,) for a targeted loss.
    """
    if not isinstance(logits_fn, FixedPasses):
        return _gradient(logits_fn, x, loss, *goals)
    # In the order of x again: sums over an image must not depend on where it was computed.
    grad, parts, first = torch.empty_like(x), [], 0
    passes = zip(logits_fn.split_images(x), *map(logits_fn.split, goals), strict=True)
    # Each pass goes back before the next one begins: only one is held in memory.
    for images, *theirs in passes:
        part = _gradient(logits_fn.logits_fn, images, loss, *theirs)
        rows = grad[first : first + len(images)]
        rows.copy_(part.grad[: len(rows)])
        parts.append(part)
        first += len(rows)
    logits, value = (
        torch.cat([getattr(part, name) for part in parts])[: len(x)] for name in ("logits", "loss")
    )
    return Gradient(logits, value, grad)


def _gradient(logits_fn: LogitsFn, x: Tensor, loss: LossFn, *goals: Tensor) -> Gradient:
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        logits = logits_fn(x)
    value, grad_logits = loss(logits.detach(), *goals)
    if logits.requires_grad:
        (grad,) = torch.autograd.grad(
            logits, x, grad_logits, allow_unused=True, materialize_grads=True
        )
    else:
        grad = torch.zeros_like(x)
    return Gradient(logits.detach(), value, grad)

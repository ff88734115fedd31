"""Losses of rows of logits, each with its gradient to the logits in the same pass.

Logits are (N, K) in float32, float64 or bfloat16. A loss is (N,), float32 (float64 for float64);
the gradient is that of each row's own loss, in the dtype of the logits, so that it can be handed
to `torch.autograd.grad(logits, x, grad_logits)`; autograd does not see the losses themselves. All
of them grow as an attack succeeds. Labels and targets out of range are an error (on CUDA a
device-side assertion, which torch reports at the next synchronisation).
"""

import torch
from torch import Tensor

from pyrobust.ops.core import core

LossAndGrad = tuple[Tensor, Tensor]


def cross_entropy(logits: Tensor, target: Tensor) -> LossAndGrad:
    """Return sum_j t_j (log sum exp z - z_j) and its gradient softmax(z) sum(t) - t.

    Args:
        target: labels (N,) int64, or probabilities (N, K) in the dtype of the loss.

    A class of target 0 adds nothing, even where its logit is -infinity. NaN among the logits
    gives NaN.
    """
    labels, probs = (None, target) if target.is_floating_point() else (target, None)
    result: LossAndGrad = core.cross_entropy(logits, labels, probs)
    return result


def trades_kl(clean_logits: Tensor, adversarial_logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return KL(softmax(clean) || softmax(adversarial)) with its gradients to both logits."""
    result: tuple[Tensor, Tensor, Tensor] = core.trades_kl(clean_logits, adversarial_logits)
    return result


def margin(logits: Tensor, labels: Tensor) -> LossAndGrad:
    """Return max_{i != y} z_i - z_y, positive where misclassified.

    Among equal logits the one of lowest index is taken, and NaN counts as larger than any number
    (as torch.max has it); the gradient is 1 at the taken logit and -1 at the label's. K >= 2.
    """
    result: LossAndGrad = core.margin(logits, labels)
    return result


def targeted_margin(logits: Tensor, labels: Tensor, targets: Tensor) -> LossAndGrad:
    """Return z_t - z_y for target classes (N,) int64."""
    result: LossAndGrad = core.targeted_margin(logits, labels, targets)
    return result


def dlr(logits: Tensor, labels: Tensor) -> LossAndGrad:
    """Return the difference of logits ratio (Croce and Hein 2020, Eq. 6); K >= 3.

    -(z_y - max_{i != y} z_i) / (z_(1) - z_(3) + 1e-12), z_(i) the i-th largest, with ties as in
    `margin`. The gradient runs through the denominator too, as AutoAttack's does.
    """
    result: LossAndGrad = core.dlr(logits, labels)
    return result


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> LossAndGrad:
    """Return -(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2 + 1e-12) (Eq. 7); K >= 4."""
    result: LossAndGrad = core.targeted_dlr(logits, labels, targets)
    return result


def _fake_loss(logits: Tensor, *others: object) -> LossAndGrad:
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    loss = logits.new_empty((logits.shape[0],), dtype=dtype)
    return loss, logits.new_empty(logits.shape)


def _fake_trades_kl(clean: Tensor, adversarial: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    loss, grad = _fake_loss(clean)
    return loss, grad, torch.empty_like(grad)


for _name in ("cross_entropy", "margin", "targeted_margin", "dlr", "targeted_dlr"):
    torch.library.register_fake(f"pyrobust::{_name}", _fake_loss)
torch.library.register_fake("pyrobust::trades_kl", _fake_trades_kl)

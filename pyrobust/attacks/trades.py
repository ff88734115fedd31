"""The inner attack of TRADES (Zhang et al. 2019): away from the network's own clean prediction."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pyrobust import ops
from pyrobust.attacks.optimizers import OptimizerName, make_optimizer
from pyrobust.attacks.passes import LogitsFn
from pyrobust.attacks.threat import ThreatModel

# The second half of the steps uses a tenth of the rate, as in the authors' code.
_LATE_FACTOR = 0.1


@dataclass(frozen=True)
class TradesAttackSettings:
    """How far and how the attack goes.

    Args:
        optimizer: see `make_optimizer`; the rate of adam is step_size, then a tenth of it.
        step_size: in the [0, 1] pixel range.
    """

    threat: ThreatModel
    num_steps: int
    optimizer: OptimizerName
    step_size: float

    def rate(self, step: int) -> float:
        """Return the rate of inner step `step`, from 0."""
        late = self.optimizer == "adam" and step >= (self.num_steps + 1) // 2
        return self.step_size * (_LATE_FACTOR if late else 1.0)


def trades_start(
    x: Tensor, sample_ids: Tensor, threat: ThreatModel, seed: int, step: int
) -> Tensor:
    """Return where the attack starts: uniform in the perturbation set, and in [0, 1].

    Args:
        x: (N, C, H, W) in [0, 1], float32.
        sample_ids: (N,) int64; with (seed, step) they name the start.
    """
    return ops.random_start(x, sample_ids, threat.epsilon, threat.norm, seed, step)


def trades_ascent(
    logits_fn: LogitsFn,
    x_adv: Tensor,
    x: Tensor,
    clean_probs: Tensor,
    settings: TradesAttackSettings,
) -> Tensor:
    """Maximise the cross-entropy of the logits to `clean_probs`, which is KL up to a constant.

    Only the gradient of the input is computed.

    Args:
        x_adv: the start, which may be overwritten.
        x: (N, C, H, W) in [0, 1], float32; so is all state of the attack.
        clean_probs: (N, K), predictions on x.

    Returns:
        x_adv of the shape of x, in the perturbation set and in [0, 1].
    """
    optimizer = make_optimizer(settings.optimizer, x)
    for step in range(settings.num_steps):
        point = x_adv.detach().requires_grad_()
        logits = logits_fn(point)
        _, grad_logits = ops.cross_entropy(logits.detach(), clean_probs)
        (grad,) = torch.autograd.grad(logits, point, grad_logits)
        x_adv = optimizer.step(point.detach(), x, grad, settings.rate(step), settings.threat)
    return x_adv

"""Steps of projected gradient ascent, each with its projection, in one pass over memory.

All take images x in [0, 1] of shape (N, ...) in float32 or float64, the current point x_adv of
the same dtype, and the gradient of the loss to x_adv (bfloat16 is accepted besides float32). The
result, written over x_adv, lies in the ball of radius epsilon around x and in [0, 1]. Strides may
be any.
"""

import torch
from torch import Tensor

from pyrobust.ops.core import core


def linf_step_(x_adv: Tensor, x: Tensor, grad: Tensor, step_size: float, epsilon: float) -> None:
    """Set x_adv to x_adv + step_size * sign(grad), projected (Madry et al. 2018, Eq. 1).

    The sign of NaN is 0: such an element does not move, while an infinite gradient has a sign.
    |x_adv - x| exceeds epsilon by at most the rounding of x + epsilon (half a unit in the last
    place).
    """
    core.linf_step_(x_adv, x, grad, step_size, epsilon)


def l2_step_(x_adv: Tensor, x: Tensor, grad: Tensor, step_size: float, epsilon: float) -> None:
    """Set x_adv to x_adv + step_size * grad / ||grad||_2, each sample projected.

    Elements of the gradient that are not finite count as 0; a sample whose gradient is zero does
    not move. The norms are summed in double precision, and the result is rounded towards x, so
    ||x_adv - x||_2 <= epsilon * (1 + 1e-6) in real arithmetic; clipping to [0, 1] comes last and
    only brings the point nearer to x, which lies in [0, 1] itself.
    """
    core.l2_step_(x_adv, x, grad, step_size, epsilon)


def linf_adam_step_(
    x_adv: Tensor,
    x: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    step: int,
    learning_rate: float,
    epsilon: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-9,
) -> None:
    """Take one Adam step up the gradient, then project: the authors' inner attack.

    Args:
        exp_avg: first moment, like x; zeros before the first step. Updated in place, as are
            exp_avg_sq and x_adv; the projection does not touch the moments.
        exp_avg_sq: second moment, like x.
        step: counts from 1, for the bias correction.
        eps: 1e-9 as in the authors' code, below what bfloat16 moments could hold.

    A gradient that is not finite counts as 0.
    """
    core.linf_adam_step_(
        x_adv, x, grad, exp_avg, exp_avg_sq, step, learning_rate, epsilon, beta1, beta2, eps
    )


def l2_adam_step_(
    x_adv: Tensor,
    x: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    step: int,
    learning_rate: float,
    epsilon: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-9,
) -> None:
    """Take the step of `linf_adam_step_` with the projection of `l2_step_`."""
    core.l2_adam_step_(
        x_adv, x, grad, exp_avg, exp_avg_sq, step, learning_rate, epsilon, beta1, beta2, eps
    )


def _fake_step_(x_adv: Tensor, *others: object) -> None:
    return None


for _name in ("linf_step_", "l2_step_", "linf_adam_step_", "l2_adam_step_"):
    torch.library.register_fake(f"pyrobust::{_name}", _fake_step_)

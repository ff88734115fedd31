"""Steps of projected gradient ascent, each with its projection, in one pass over memory.

All take images x in [0, 1] of shape (N, ...) in float32 or float64, the current point x_adv of
the same dtype, and the gradient of the loss to x_adv (bfloat16 is taken beside float32). The
result lies in the ball of radius epsilon around x and in [0, 1]. Strides may be any; outputs are
channels-last where x is, else contiguous.
"""

import torch
from torch import Tensor

from pyrobust.ops.core import core, empty_as


def linf_step(x_adv: Tensor, x: Tensor, grad: Tensor, step_size: float, epsilon: float) -> Tensor:
    """Return x_adv + step_size * sign(grad), projected (Madry et al. 2018, Eq. 1).

    The sign of NaN is 0: such an element does not move. |result - x| exceeds epsilon by at most
    the rounding of x + epsilon (half a unit in the last place).
    """
    result: Tensor = core.linf_step(x_adv, x, grad, step_size, epsilon)
    return result


def l2_step(x_adv: Tensor, x: Tensor, grad: Tensor, step_size: float, epsilon: float) -> Tensor:
    """Return x_adv + step_size * grad / ||grad||_2, each sample projected.

    Elements of the gradient that are not finite count as 0; a sample whose gradient is zero does
    not move. The norms are summed in double precision, and the result is rounded towards x, so
    ||result - x||_2 <= epsilon * (1 + 1e-6) in real arithmetic; clipping to [0, 1] comes last and
    only brings the point nearer to x, which lies in [0, 1] itself.
    """
    result: Tensor = core.l2_step(x_adv, x, grad, step_size, epsilon)
    return result


def linf_step_(x_adv: Tensor, x: Tensor, grad: Tensor, step_size: float, epsilon: float) -> None:
    """Take the step of `linf_step` in place, which needs no new memory."""
    core.linf_step_(x_adv, x, grad, step_size, epsilon)


def l2_step_(x_adv: Tensor, x: Tensor, grad: Tensor, step_size: float, epsilon: float) -> None:
    """Take the step of `l2_step` in place, which needs no new memory."""
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
    """Take the step of `linf_adam_step_` with the projection of `l2_step`."""
    core.l2_adam_step_(
        x_adv, x, grad, exp_avg, exp_avg_sq, step, learning_rate, epsilon, beta1, beta2, eps
    )


def _fake_step(x_adv: Tensor, x: Tensor, grad: Tensor, step_size: float, epsilon: float) -> Tensor:
    torch._check(x_adv.shape == x.shape and grad.shape == x.shape)
    return empty_as(x)


def _fake_step_(x_adv: Tensor, *others: object) -> None:
    return None


for _name in ("linf_step", "l2_step"):
    torch.library.register_fake(f"pyrobust::{_name}", _fake_step)
for _name in ("linf_step_", "l2_step_", "linf_adam_step_", "l2_adam_step_"):
    torch.library.register_fake(f"pyrobust::{_name}", _fake_step_)

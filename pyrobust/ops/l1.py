"""Steps in the l1 ball, with the exact projection onto the ball and [0, 1] together.

Croce and Hein 2021, "Mind the Box: l1-APGD for Sparse Adversarial Attacks on Image Classifiers".
"""

import torch
from torch import Tensor

from pyrobust.ops.core import core


def l1_step_(
    x_adv: Tensor,
    x: Tensor,
    grad: Tensor,
    step_size: Tensor,
    num_moved: Tensor,
    epsilon: float,
) -> None:
    """Set x_adv to x_adv + step_size * s / ||s||_1, each sample projected (Eq. 9).

    s is the sign of the gradient at its num_moved largest elements and 0 elsewhere; ties with the
    smallest of them are included. A sample whose gradient is zero does not move.

    Args:
        x_adv: (N, ...), overwritten; like x.
        x: (N, ...) in [0, 1], float32 or float64.
        grad: (N, ...) gradient of the loss to x_adv, in the dtype of x or bfloat16; elements that
            are not finite count as 0.
        step_size: (N,), the l1 length of the step, in the dtype of x.
        num_moved: (N,) int64, from 1.
        epsilon: radius of the ball. Stored points satisfy ||x_adv - x||_1 <= epsilon in real
            arithmetic.
    """
    core.l1_step_(x_adv, x, grad, step_size, num_moved, epsilon)


def l1_project_(point: Tensor, x: Tensor, epsilon: float) -> None:
    """Move each point to the nearest one (in l2) in the l1 ball around x and in [0, 1].

    Args:
        point: (N, ...), overwritten; like x.
        x: (N, ...) in [0, 1], float32 or float64.
        epsilon: radius of the ball, as in `l1_step_`.
    """
    core.l1_project_(point, x, epsilon)


def _fake(x_adv: Tensor, *others: object) -> None:
    return None


for _name in ("l1_step_", "l1_project_"):
    torch.library.register_fake(f"pyrobust::{_name}", _fake)

"""AutoPGD (Croce and Hein 2020): the move with momentum, and the bookkeeping of step sizes."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from pyrobust.ops.core import core
from pyrobust.ops.norms import is_l2


@dataclass(frozen=True)
class ApgdState:
    """State of the attack on each sample; its tensors are updated in place.

    Images are (N, ...), the rest (N,) in the images' dtype or bool.
    """

    x_adv: Tensor
    x_previous: Tensor
    x_best: Tensor  # where the loss was largest
    grad_best: Tensor  # the gradient there
    x_broken: Tensor  # the last point that was misclassified; the start where none was
    loss_best: Tensor
    loss_previous: Tensor
    num_increases: Tensor  # of the loss, since the last look at the step size
    loss_best_at_check: Tensor
    halved_at_check: Tensor  # bool
    step_size: Tensor
    standing: Tensor  # bool: classified correctly at every point so far

    @classmethod
    def start(
        cls, x_adv: Tensor, grad: Tensor, loss: Tensor, correct: Tensor, epsilon: float
    ) -> "ApgdState":
        """Return the state after the first evaluation, at the starting point x_adv.

        Args:
            grad: (N, ...) gradient of the loss to x_adv.
            loss: (N,), in the dtype of x_adv.
            correct: (N,) bool, whether the point is classified as its label.
            epsilon: radius of the ball; the step size starts at 2 epsilon.
        """
        return cls(
            x_adv=x_adv.clone(),
            x_previous=x_adv.clone(),
            x_best=x_adv.clone(),
            grad_best=grad.clone(),
            x_broken=x_adv.clone(),
            loss_best=loss.clone(),
            # The first look compares the first loss with 0, as AutoAttack's does.
            loss_previous=torch.zeros_like(loss),
            num_increases=torch.zeros_like(loss),
            loss_best_at_check=loss.clone(),
            halved_at_check=torch.ones_like(correct),
            step_size=torch.full_like(loss, 2 * epsilon),
            standing=correct.clone(),
        )

    def at(self, rows: Tensor) -> "ApgdState":
        """Return the state of the samples at `rows`, (n,) int64."""
        return ApgdState(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def apgd_step_(
    state: ApgdState, x: Tensor, grad: Tensor, epsilon: float, norm: str, momentum: float = 0.75
) -> None:
    """Move state.x_adv: z = P(x_adv + step_size * direction), then
    P(x_adv + momentum (z - x_adv) + (1 - momentum) (x_adv - x_previous)).

    The direction is sign(grad) for linf and grad / ||grad||_2 for l2; P projects onto the ball
    around x and onto [0, 1]. Gradients that are not finite are treated as in `linf_step_` and
    `l2_step_`. Unlike AutoAttack's, the l2 direction has length 1 however small the gradient.

    Args:
        momentum: 0.75; 1 at the first step, which has no previous point.
    """
    core.apgd_step_(
        state.x_adv,
        state.x_previous,
        x,
        grad,
        state.step_size,
        epsilon,
        is_l2(norm),
        momentum,
    )


def apgd_track_(
    state: ApgdState,
    grad: Tensor,
    loss: Tensor,
    correct: Tensor,
    window: int = 0,
    rho: float = 0.75,
) -> None:
    """Take up what an evaluation at state.x_adv found.

    The best point and its gradient follow the loss, x_broken and standing follow `correct`. A
    loss of NaN is not an improvement.

    Args:
        grad: (N, ...) gradient at state.x_adv; rows that go back to the best point become the
            gradient there, in place.
        loss: (N,), in the dtype of x_adv.
        correct: (N,) bool.
        window: above 0 at a checkpoint: the number of steps since the last one. The step size is
            then halved, and the walk goes back to the best point, where at most rho * window of
            these steps raised the loss, or where neither the step size changed at the last
            checkpoint nor the best loss since.
    """
    core.apgd_track_(
        state.x_adv,
        grad,
        loss,
        correct,
        state.x_best,
        state.grad_best,
        state.x_broken,
        state.loss_best,
        state.loss_previous,
        state.num_increases,
        state.loss_best_at_check,
        state.halved_at_check,
        state.step_size,
        state.standing,
        window,
        rho,
    )


def _fake(x_adv: Tensor, *others: object) -> None:
    return None


for _name in ("apgd_step_", "apgd_track_"):
    torch.library.register_fake(f"pyrobust::{_name}", _fake)

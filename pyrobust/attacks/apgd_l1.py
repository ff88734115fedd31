"""Auto-PGD in the l1 ball (Croce and Hein 2021, Algorithm 1), as AutoAttack runs it.

The walk begins in a ball of three times the radius, goes on in one of twice the radius from its
best point, and ends in the ball itself. Steps are sparse, and the sparser the best point becomes,
the fewer pixels a step moves.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from pyrobust import ops
from pyrobust.attacks.network_passes import LogitsFn, LossFn, gradient
from pyrobust.attacks.threat_model import WorstPoints, is_broken

# A step size is divided by this where the best point has not become sparser, down to a tenth.
_SHRINK, _SMALLEST = 1.5, 0.1

# The walk's first ball, by which AutoAttack draws its start.
START_FACTOR = 3.0


def stages(num_steps: int) -> Iterator[tuple[float, int]]:
    """Yield (factor of the radius, steps): 30 %, 30 % and 40 % of the steps, at least one last."""
    early = min(-(-3 * num_steps // 10), (num_steps - 1) // 2)
    yield START_FACTOR, early
    yield 2.0, early
    yield 1.0, num_steps - 2 * early


def l1_walk(
    logits_fn: LogitsFn,
    x: Tensor,
    start: Tensor,
    loss: LossFn,
    goals: tuple[Tensor, ...],
    epsilon: float,
    num_steps: int,
    rows: Tensor,
    worst: WorstPoints,
) -> None:
    """Walk from `start` (n, C, H, W), and record what was found in the ball in `worst`.

    Args:
        x: (n, C, H, W), the images.
        start: in the ball of three times the radius.
        goals: labels (n,), and targets (n,) for a targeted loss.
        rows: (n,), indices of the images in `worst`.
    """
    point = start
    for factor, count in stages(num_steps):
        is_last = factor == 1
        walk = _Walk.start(logits_fn, x, point, loss, goals, factor * epsilon)
        for step in range(count + 1):
            if step > 0:
                walk.step(logits_fn, loss, adapts=step % max(4 * count // 100, 1) == 0)
            if is_last and walk.broken.any():
                rows = walk.drop_broken(rows, worst)
                if not len(rows):
                    return
        point = walk.state.x_best
    worst.update(rows, walk.state.x_best, walk.state.loss_best, ~walk.state.standing)


class _Walk:
    """The walk in one ball.

    Attributes:
        broken: (n,) bool, which of the present points are misclassified.
    """

    def __init__(
        self,
        state: ops.ApgdState,
        x: Tensor,
        grad: Tensor,
        loss: Tensor,
        goals: tuple[Tensor, ...],
        radius: float,
    ) -> None:
        self.state, self.broken = state, ~state.standing
        self._x, self._grad, self._loss = x, grad, loss
        self._goals, self._radius = goals, radius
        self._changed = self._num_changed()

    @classmethod
    def start(
        cls,
        logits_fn: LogitsFn,
        x: Tensor,
        point: Tensor,
        loss: LossFn,
        goals: tuple[Tensor, ...],
        radius: float,
    ) -> "_Walk":
        """Begin at the projection of `point`, with the radius as the step size."""
        begin = point.clone()
        ops.l1_project_(begin, x, radius)
        here = gradient(logits_fn, begin, loss, *goals)
        correct = ~is_broken(here.logits, goals[0])
        state = ops.ApgdState.start(begin, here.grad, here.loss, correct, radius)
        state = replace(state, step_size=torch.full_like(here.loss, radius))
        return cls(state, x, here.grad, here.loss, goals, radius)

    def step(self, logits_fn: LogitsFn, loss: LossFn, adapts: bool) -> None:
        """Move all points once, and adapt sparsity and step sizes afterwards if asked to."""
        state = self.state
        # Two thirds of the pixels that the best point changes, at least one.
        num_moved = ((2 * self._changed + 2) // 3).clamp_min(1)
        ops.l1_step_(state.x_adv, self._x, self._grad, state.step_size, num_moved, self._radius)
        here = gradient(logits_fn, state.x_adv, loss, *self._goals)
        self._grad, self._loss = here.grad, here.loss
        self.broken = is_broken(here.logits, self._goals[0])
        ops.apgd_track_(state, self._grad, here.loss, ~self.broken)
        if adapts:
            self._adapt()

    def _adapt(self) -> None:
        """Return to the best point where it has become sparser by 5 %, else take smaller steps."""
        state, radius = self.state, self._radius
        changed = self._num_changed()
        sparser = 20 * changed < 19 * self._changed
        smaller = (state.step_size / _SHRINK).clamp(_SMALLEST * radius, radius)
        state.step_size.copy_(torch.where(sparser, radius, smaller))
        state.x_adv[sparser] = state.x_best[sparser]
        self._grad[sparser] = state.grad_best[sparser]
        self._changed = changed

    def drop_broken(self, rows: Tensor, worst: WorstPoints) -> Tensor:
        """Record the misclassified points and forget their images; return the other rows."""
        fell, keep = (torch.nonzero(which)[:, 0] for which in (self.broken, ~self.broken))
        worst.update(rows[fell], self.state.x_broken[fell], self._loss[fell], self.broken[fell])
        self.state = self.state.at(keep)
        self._x, self._grad, self._loss = self._x[keep], self._grad[keep], self._loss[keep]
        self._goals = tuple(goal[keep] for goal in self._goals)
        self._changed, self.broken = self._changed[keep], self.broken[keep]
        return rows[keep]

    def _num_changed(self) -> Tensor:
        """Return the pixels that each best point changes, (n,) int64."""
        return torch.ne(self.state.x_best, self._x).flatten(1).sum(1)

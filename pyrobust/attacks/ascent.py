"""One walk up the loss inside the perturbation set, with a rate that falls in steps."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from pyrobust.attacks.gradients import LossFn, gradient
from pyrobust.attacks.optimizers import OptimizerName, make_optimizer
from pyrobust.attacks.passes import LogitsFn
from pyrobust.attacks.threat import ThreatModel, is_broken
from pyrobust.attacks.worst import WorstPoints

# (first step, step size), ascending; a step size holds until the next one begins.
Schedule = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class AscentSettings:
    """How a walk goes.

    Args:
        schedule: step sizes in the [0, 1] pixel range.
        optimizer: see `make_optimizer`.
        stop_when_broken: whether an image is done with once it is misclassified. Accuracies are
            the same either way; without it the walk goes on towards the highest loss.
    """

    threat: ThreatModel
    num_steps: int
    schedule: Schedule
    optimizer: OptimizerName = "adam"
    stop_when_broken: bool = True

    @classmethod
    def falling(
        cls, threat: ThreatModel, num_steps: int, drops: tuple[tuple[int, float], ...]
    ) -> Self:
        """Return a walk whose step size is multiplied by a factor at each (step, factor).

        For linf the walk is the authors': Adam with a first rate of 0.1. For l2, of which they
        publish none, it is steepest ascent with a first step of epsilon: since Adam scales each
        pixel by itself, it ends where all pixels move alike, which is a corner of the linf ball
        but no extreme point of the l2 ball.
        """
        is_linf = threat.norm == "linf"
        schedule = [(0, 0.1 if is_linf else threat.epsilon)]
        for step, factor in drops:
            schedule.append((step, schedule[-1][1] * factor))
        return cls(threat, num_steps, tuple(schedule), "adam" if is_linf else "steepest")

    def step_size(self, step: int) -> float:
        """Return the step size of `step`, from 0."""
        return [size for first, size in self.schedule if first <= step][-1]


def ascend(
    logits_fn: LogitsFn,
    x: Tensor,
    x_adv: Tensor,
    loss: LossFn,
    goals: tuple[Tensor, ...],
    settings: AscentSettings,
    rows: Tensor,
    worst: WorstPoints,
) -> None:
    """Walk from x_adv (n, C, H, W), and tell `worst` of every point visited, the start included.

    Args:
        x: (n, C, H, W), the images.
        x_adv: the start; it is overwritten.
        goals: labels (n,), and targets (n,) for a targeted loss.
        rows: (n,), where the images stand in `worst`.
    """
    optimizer = make_optimizer(settings.optimizer, x)
    for step in range(settings.num_steps + 1):
        here = gradient(logits_fn, x_adv, loss, *goals)
        grad, broken = here.grad, is_broken(here.logits, goals[0])
        worst.update(rows, x_adv, here.loss, broken)
        if settings.stop_when_broken and broken.any():
            keep = torch.nonzero(~broken)[:, 0]
            x, x_adv, grad, rows = x[keep], x_adv[keep], grad[keep], rows[keep]
            goals = tuple(goal[keep] for goal in goals)
            optimizer.keep(keep)
        if step == settings.num_steps or not len(rows):
            return
        x_adv = optimizer.step(x_adv, x, grad, settings.step_size(step), settings.threat)

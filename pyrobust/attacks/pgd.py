"""Projected gradient descent, and PGD-40 as the paper's authors run it."""

import math
from dataclasses import dataclass, replace
from typing import Literal, Protocol, Self

import torch
from torch import Tensor

from pyrobust import ops
from pyrobust.attacks.network_passes import LogitsFn, LossFn, gradient
from pyrobust.attacks.threat_model import ThreatModel, WorstPoints, is_broken

OptimizerName = Literal["adam", "steepest"]


class Optimizer(Protocol):
    """Moves a batch of points up, step by step."""

    def step(
        self, x_adv: Tensor, x: Tensor, grad: Tensor, step_size: float, threat: ThreatModel
    ) -> Tensor:
        """Return the next points, inside the set around x; `x_adv` may be overwritten."""

    def keep(self, rows: Tensor) -> None:
        """Forget all points but those at `rows`, (n,) int64."""


def make_optimizer(name: OptimizerName, x: Tensor) -> Optimizer:
    """Return a new optimizer for points of the shape of x (N, C, H, W).

    Args:
        name: adam (Kingma and Ba 2015, ascending; its moments never see the projection), or
            steepest: step_size times the gradient's sign for linf, the gradient scaled to length
            step_size for l2, and for l1 the sign of its largest elements, scaled so: 5 % of them in
            a step of epsilon, fewer in smaller steps. adam is for linf and l2.
    """
    return _Adam(x) if name == "adam" else _Steepest()


class _Adam:
    def __init__(self, x: Tensor) -> None:
        self._exp_avg, self._exp_avg_sq = torch.zeros_like(x), torch.zeros_like(x)
        self._count = 0

    def step(
        self, x_adv: Tensor, x: Tensor, grad: Tensor, step_size: float, threat: ThreatModel
    ) -> Tensor:
        self._count += 1
        update = {"linf": ops.linf_adam_step_, "l2": ops.l2_adam_step_}[threat.norm]
        moments = (self._exp_avg, self._exp_avg_sq)
        update(x_adv, x, grad, *moments, self._count, step_size, threat.epsilon)
        return x_adv

    def keep(self, rows: Tensor) -> None:
        self._exp_avg, self._exp_avg_sq = self._exp_avg[rows], self._exp_avg_sq[rows]


class _Steepest:
    def step(
        self, x_adv: Tensor, x: Tensor, grad: Tensor, step_size: float, threat: ThreatModel
    ) -> Tensor:
        if threat.norm == "l1":
            sizes = x.new_full((len(x),), step_size)
            num_moved = sizes.new_full(
                (len(x),), _num_moved(x, step_size / threat.epsilon), dtype=torch.int64
            )
            ops.l1_step_(x_adv, x, grad, sizes, num_moved, threat.epsilon)
            return x_adv
        update = ops.linf_step_ if threat.norm == "linf" else ops.l2_step_
        update(x_adv, x, grad, step_size, threat.epsilon)
        return x_adv

    def keep(self, rows: Tensor) -> None:
        pass


def _num_moved(x: Tensor, share: float) -> int:
    """Return the pixels that an l1 step of this share of epsilon moves: 5 % for one of epsilon.

    The steepest step moves a single pixel, which is slow at first. Steps of many pixels, however,
    never reach a corner of the ball, where few have moved.
    """
    return max(1, math.ceil(0.05 * min(share, 1.0) * x.shape[1:].numel()))


# (first step, step size), ascending; a step size holds until the next one begins.
Schedule = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class AscentSettings:
    """How a walk goes.

    Args:
        schedule: step sizes in the [0, 1] pixel range.
        optimizer: see `make_optimizer`.
        stop_when_broken: whether an image is done with once it is misclassified. Accuracies are
            the same either way; without it, the attack continues towards the highest loss.
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

        For linf the walk is the authors': Adam with a first rate of 0.1. For l2 and l1, of which
        they publish none, it is steepest ascent with a first step of epsilon: since Adam scales
        each pixel by itself, it ends where all pixels move alike, which is a corner of the linf
        ball but no extreme point of the other two.
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
    """Walk from x_adv (n, C, H, W), and record every visited point in `worst`, the start included.

    Args:
        x: (n, C, H, W), the images.
        x_adv: the start; it is overwritten.
        goals: labels (n,), and targets (n,) for a targeted loss.
        rows: (n,), indices of the images in `worst`.
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


def pgd40(threat: ThreatModel, stop_when_broken: bool = True) -> AscentSettings:
    """Return PGD-40 as the paper's authors run it for early stopping (appendix A).

    One start, the margin loss, and Adam with rate 0.1, from step 20 on 0.01 and from step 30 on
    0.0001, since the factors 0.1 and 0.01 of their schedule multiply.
    """
    ascent = AscentSettings.falling(threat, 40, ((20, 0.1), (30, 0.01)))
    return replace(ascent, stop_when_broken=stop_when_broken)


def pgd(
    logits_fn: LogitsFn,
    x: Tensor,
    labels: Tensor,
    sample_ids: Tensor,
    settings: AscentSettings,
    seed: int,
) -> Tensor:
    """Return the worst point visited for each image, of the shape of x.

    The walk climbs the margin from a point uniform in the perturbation set. The worst point is a
    misclassified one, else that of the highest margin; the start and the last point count.

    Args:
        x: (N, C, H, W) in [0, 1].
        labels: (N,) int64.
        sample_ids: (N,) int64; (seed, sample id) name the random start.
    """
    threat, worst = settings.threat, WorstPoints(x)
    if len(x):
        rows = torch.arange(len(x), device=x.device)
        start = ops.random_start(x, sample_ids, threat.epsilon, threat.norm, seed, 0)
        ascend(logits_fn, x, start, ops.margin, (labels,), settings, rows, worst)
    return worst.x_adv

"""AutoPGD (Croce and Hein 2020, Algorithm 1) on cross-entropy, DLR and targeted DLR."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from pyrobust import ops
from pyrobust.attacks.apgd_l1 import START_FACTOR, l1_walk
from pyrobust.attacks.multitargeted import ranked_targets
from pyrobust.attacks.network_passes import (
    LogitsFn,
    Loss,
    LossFn,
    TargetedLoss,
    gradient,
    loss_fn,
)
from pyrobust.attacks.threat_model import ThreatModel, WorstPoints, is_broken

# The momentum a of Algorithm 1; the first step has none.
_MOMENTUM = 0.75


@dataclass(frozen=True)
class ApgdSettings:
    """Loss, and number of restarts and steps.

    Args:
        num_restarts: restarts for each image; for a targeted loss, for each target.
        num_targets: targets with the largest clean logits that a targeted loss tries.
    """

    threat: ThreatModel
    loss: Loss | TargetedLoss = "cross_entropy"
    num_steps: int = 100
    num_restarts: int = 5
    num_targets: int = 9

    @property
    def is_targeted(self) -> bool:
        """Whether the loss aims at a class."""
        return self.loss in get_args(TargetedLoss)


def apgd(
    logits_fn: LogitsFn,
    x: Tensor,
    labels: Tensor,
    sample_ids: Tensor,
    settings: ApgdSettings,
    seed: int,
) -> Tensor:
    """Return the worst point visited for each image, of the shape of x.

    That is its first misclassified point, else the point of the highest loss. The public
    implementation continues with misclassified images to the end of a run; since no image
    depends on another, leaving them saves their passes and keeps every other point the same.

    Args:
        x: (N, C, H, W) in [0, 1].
        labels: (N,) int64.
        sample_ids: (N,) int64; (seed, sample id, walk) name the start, on the ball's boundary
            (for l1, that of the ball of three times the radius).
    """
    threat, worst, loss = settings.threat, WorstPoints(x), loss_fn(settings.loss)
    for stream, targets in _walks(logits_fn, x, labels, settings):
        rows = worst.standing()
        if not len(rows):
            break
        images = x[rows]
        radius = threat.epsilon * (START_FACTOR if threat.norm == "l1" else 1.0)
        start = ops.random_start(
            images, sample_ids[rows], radius, threat.norm, seed, stream, on_boundary=True
        )
        goals = tuple(goal[rows] for goal in (labels, *targets))
        if threat.norm == "l1":
            num_steps = settings.num_steps
            l1_walk(logits_fn, images, start, loss, goals, threat.epsilon, num_steps, rows, worst)
        else:
            _walk(logits_fn, images, start, loss, goals, settings, rows, worst)
    return worst.x_adv


def checkpoints(num_steps: int) -> dict[int, int]:
    """Return step → steps since the last checkpoint; after these steps step sizes are adapted.

    The first after 22 % of the steps; each interval is 3 % shorter than the last, and at least
    6 % long: 22, 41, 57, 70, 80, 87, 93, 99 of 100.
    """
    window, shrink, shortest = (max(num_steps * share // 100, 1) for share in (22, 3, 6))
    found, step = {}, window
    while step <= num_steps:
        found[step] = window
        window = max(window - shrink, shortest)
        step += window
    return found


def _walks(
    logits_fn: LogitsFn, x: Tensor, labels: Tensor, settings: ApgdSettings
) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
    """Yield (number of the random stream, targets (N,) where there are any)."""
    if not settings.is_targeted:
        yield from ((restart, ()) for restart in range(settings.num_restarts))
        return
    targets = ranked_targets(logits_fn, x, labels)
    num_others = targets.shape[1]
    for rank in range(min(settings.num_targets, num_others)):
        for restart in range(settings.num_restarts):
            yield restart * num_others + rank, (targets[:, rank],)


def _walk(
    logits_fn: LogitsFn,
    x: Tensor,
    start: Tensor,
    loss: LossFn,
    goals: tuple[Tensor, ...],
    settings: ApgdSettings,
    rows: Tensor,
    worst: WorstPoints,
) -> None:
    """Walk from `start` (n, C, H, W), and record what was found in `worst`.

    Args:
        x: (n, C, H, W), the images.
        goals: labels (n,), and targets (n,) for a targeted loss.
        rows: (n,), indices of the images in `worst`.
    """
    threat, windows = settings.threat, checkpoints(settings.num_steps)
    here = gradient(logits_fn, start, loss, *goals)
    broken = is_broken(here.logits, goals[0])
    state = ops.ApgdState.start(start, here.grad, here.loss, ~broken, threat.epsilon)
    grad = here.grad
    for step in range(settings.num_steps + 1):
        if step > 0:
            momentum = _MOMENTUM if step > 1 else 1.0
            ops.apgd_step_(state, x, grad, threat.epsilon, threat.norm, momentum)
            here = gradient(logits_fn, state.x_adv, loss, *goals)
            grad, broken = here.grad, is_broken(here.logits, goals[0])
            ops.apgd_track_(state, grad, here.loss, ~broken, windows.get(step, 0))
        if broken.any():
            fell, keep = torch.nonzero(broken)[:, 0], torch.nonzero(~broken)[:, 0]
            worst.update(rows[fell], state.x_broken[fell], here.loss[fell], broken[fell])
            state, x, grad, rows = state.at(keep), x[keep], grad[keep], rows[keep]
            goals = tuple(goal[keep] for goal in goals)
            if not len(rows):
                return
    worst.update(rows, state.x_best, state.loss_best, ~state.standing)

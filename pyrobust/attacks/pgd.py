"""Projected gradient descent with restarts, and the PGD-40 of the paper's authors."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pyrobust import ops
from pyrobust.attacks.ascent import AscentSettings, ascend
from pyrobust.attacks.gradients import Loss, loss_fn
from pyrobust.attacks.passes import LogitsFn
from pyrobust.attacks.threat import ThreatModel
from pyrobust.attacks.worst import WorstPoints


@dataclass(frozen=True)
class PgdSettings:
    """Which loss is climbed, how, and from how many starts."""

    ascent: AscentSettings
    loss: Loss = "margin"
    num_restarts: int = 1


def pgd40(threat: ThreatModel, stop_when_broken: bool = True) -> PgdSettings:
    """Return PGD-40 as the paper's authors run it for early stopping (appendix A).

    One start, the margin loss, and Adam with rate 0.1, from step 20 on 0.01 and from step 30 on
    0.0001, since the factors 0.1 and 0.01 of their schedule multiply.
    """
    ascent = AscentSettings.falling(threat, 40, ((20, 0.1), (30, 0.01)))
    return PgdSettings(replace(ascent, stop_when_broken=stop_when_broken))


def pgd(
    logits_fn: LogitsFn,
    x: Tensor,
    labels: Tensor,
    sample_ids: Tensor,
    settings: PgdSettings,
    seed: int,
) -> Tensor:
    """Return the worst point visited for each image, of the shape of x.

    That is a misclassified point where there is one, else the point of the highest loss; starts
    and last points count. Each restart begins at a point uniform in the perturbation set.

    Args:
        x: (N, C, H, W) in [0, 1].
        labels: (N,) int64.
        sample_ids: (N,) int64; (seed, sample id, restart) name the random start.
    """
    ascent, worst = settings.ascent, WorstPoints(x)
    every_row = torch.arange(len(x), device=x.device)
    for restart in range(settings.num_restarts):
        rows = worst.standing() if ascent.stop_when_broken else every_row
        if not len(rows):
            break
        images, threat = x[rows], ascent.threat
        start = ops.random_start(
            images, sample_ids[rows], threat.epsilon, threat.norm, seed, restart
        )
        loss = loss_fn(settings.loss)
        ascend(logits_fn, images, start, loss, (labels[rows],), ascent, rows, worst)
    return worst.x_adv

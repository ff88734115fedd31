"""The multi-targeted attack (Gowal et al. 2019): towards each other class in turn."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrobust import ops
from pyrobust.attacks.network_passes import LogitsFn, loss_fn
from pyrobust.attacks.pgd import AscentSettings, ascend
from pyrobust.attacks.threat_model import ThreatModel, WorstPoints


def ranked_targets(logits_fn: LogitsFn, x: Tensor, labels: Tensor) -> Tensor:
    """Return the other classes of each image, the largest logit first, (N, K - 1) int64."""
    with torch.no_grad():
        logits = logits_fn(x)
    # Sorted stably, so that equal logits have one order: that of the classes.
    order = logits.argsort(dim=1, descending=True, stable=True)
    others = order != labels[:, None]
    return order[others].view(len(x), -1)


@dataclass(frozen=True)
class MultitargetedSettings:
    """Number and length of the restarts.

    The paper states 10 restarts of 200 steps on the margin loss (appendix A). It leaves open
    whether the restarts are for each target, and the rates; both are stated here.

    Args:
        share_restarts: False: num_restarts for every target. True: num_restarts in
            all, dealt out over the targets in turn, the likeliest target first.
        num_targets: targets with the largest clean logits that are tried; None: all other classes.
    """

    threat: ThreatModel
    num_steps: int = 200
    num_restarts: int = 10
    share_restarts: bool = False
    num_targets: int | None = None

    @property
    def ascent(self) -> AscentSettings:
        """The step size falls to a tenth after half of the steps, and again after three quarters.

        For linf that is Adam with the rates 0.1, 0.01 and 0.001, by analogy with PGD-40.
        """
        half, three_quarters = (-(-self.num_steps * quarters // 4) for quarters in (2, 3))
        drops = ((half, 0.1), (three_quarters, 0.1))
        return AscentSettings.falling(self.threat, self.num_steps, drops)

    def walks(self, num_targets: int) -> Iterator[tuple[int, int]]:
        """Yield (restart, rank of the target), all targets of a restart before the next one."""
        total = self.num_restarts if self.share_restarts else self.num_restarts * num_targets
        return (divmod(walk, num_targets) for walk in range(total))


def multitargeted(
    logits_fn: LogitsFn,
    x: Tensor,
    labels: Tensor,
    sample_ids: Tensor,
    settings: MultitargetedSettings,
    seed: int,
) -> Tensor:
    """Return the worst point visited for each image, of the shape of x.

    Each walk climbs z_t - z_y of one target t from a point uniform in the perturbation set. An
    image that is misclassified, as whatever class, is done with. Among the points of an image
    that stays, the one with the largest z_t - z_y over all targets and restarts is the worst.

    Args:
        x: (N, C, H, W) in [0, 1].
        labels: (N,) int64.
        sample_ids: (N,) int64; (seed, sample id, restart, rank of the target) name the start.
    """
    threat, worst = settings.threat, WorstPoints(x)
    targets = ranked_targets(logits_fn, x, labels)
    num_others = targets.shape[1]
    num_targets = min(settings.num_targets or num_others, num_others)
    for restart, rank in settings.walks(num_targets):
        rows = worst.standing()
        if not len(rows):
            break
        images = x[rows]
        start = ops.random_start(
            images, sample_ids[rows], threat.epsilon, threat.norm, seed, restart * num_others + rank
        )
        goals = (labels[rows], targets[rows, rank])
        loss = loss_fn("targeted_margin")
        ascend(logits_fn, images, start, loss, goals, settings.ascent, rows, worst)
    return worst.x_adv

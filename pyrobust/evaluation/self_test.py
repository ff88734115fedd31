"""Self-test of an attack: does it find adversarial examples that are known to exist?

After Zimmermann et al. 2022, "Increasing Confidence in Adversarial Robustness Evaluations". They
train a new last layer for each image, such that the ball contains one known adversarial example.
Here the known point is the one of the lowest margin that Square finds within a few queries, without
gradients, and the decision boundary is moved between it and the image, by a constant on the logit
of the label. The network before that logit, with everything that may mask its gradients, stays.
An attack that cannot find a point as low as Square's cannot say that there is none.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pyrobust.attacks import FixedPasses, LogitsFn, ThreatModel
from pyrobust.attacks.threat_model import is_broken
from pyrobust.evaluation.attack_stages import Cascade, searched
from pyrobust.evaluation.outcomes import judge

# Images with a planted example, at most.
MOST = 32
# Where the new boundary lies between the known point (0) and the image (1), by margin.
_PLACE = 0.1


@dataclass(frozen=True)
class Planted:
    """Counts of images.

    Attributes:
        found: the attack found an adversarial example.
        planted: one was planted.
        flat: none can be planted, because the logits do not change; masked by itself. Images
            around which Square found no point of a lower margin are not counted at all.
    """

    found: int
    planted: int
    flat: int


@dataclass(frozen=True)
class MovedBoundary:
    """A logits function with another decision boundary in the ball around each of n images.

    Args:
        x: (n, C, H, W), with balls that do not meet.
        labels: (n,) int64.
        shift: (n,), subtracted from the logit of the label in that ball.
    """

    logits_fn: LogitsFn
    x: Tensor
    labels: Tensor
    shift: Tensor
    norm: str

    def __call__(self, points: Tensor) -> Tensor:
        """Return the logits (N, K) of points (N, C, H, W)."""
        logits = self.logits_fn(points)
        image = _distances(points.detach(), self.x, self.norm).argmin(1)
        moved = torch.zeros_like(logits)
        moved.scatter_(1, self.labels[image, None], self.shift[image, None].to(logits))
        return logits - moved


def find_planted(
    cascade: Cascade,
    judge_fn: FixedPasses,
    search_fn: FixedPasses,
    x: Tensor,
    labels: Tensor,
    lowest: Tensor,
    threat: ThreatModel,
) -> Planted:
    """Return how many planted examples an attack finds.

    Args:
        cascade: the attack. Square does not count if other stages do: it searches as the known
            points were searched, so it finds them even where all gradients are masked.
        x, labels: (N, C, H, W) and (N,), correctly classified; the first 32 with balls that do
            not meet are used.
        lowest: (N, C, H, W), the known point of each image, in its ball.
    """
    chosen = _separate(x, threat)
    x, labels, lowest = x[chosen], labels[chosen], lowest[chosen]
    with torch.no_grad():
        _, margin = judge(judge_fn(x), labels)
        _, low = judge(judge_fn(lowest), labels)
    # No boundary can be placed at a margin of -inf, which non-finite logits have.
    shift = torch.nan_to_num(low + _PLACE * (margin - low), 0.0, 0.0, 0.0)

    def moved(passes: FixedPasses) -> FixedPasses:
        own = MovedBoundary(passes.logits_fn, x, labels, shift, threat.norm)
        return replace(passes, logits_fn=own)

    judge_moved, search_moved = moved(judge_fn), moved(search_fn)
    with torch.no_grad():
        planted = is_broken(judge_moved(lowest), labels) & ~is_broken(judge_moved(x), labels)
    flat = ~planted & (low <= margin)
    found = torch.zeros_like(planted)
    ids = torch.arange(len(x), device=x.device)
    for stage in [s for s in cascade.stages if s.name != "square"] or cascade.stages:
        here = torch.nonzero(planted & ~found)[:, 0]
        if not len(here):
            break
        images, classes = x[here], labels[here]
        if search_fn == judge_fn:
            x_adv = stage.run(judge_moved, images.clone(), classes, ids[here])
        else:
            x_adv = searched(stage, search_moved, judge_moved, images, classes, ids[here])
        with torch.no_grad():
            broken = is_broken(judge_moved(x_adv), classes)
        found[here] = broken & threat.contains(x_adv, images)
    return Planted(int(found.sum()), int(planted.sum()), int(flat.sum()))


def _separate(x: Tensor, threat: ThreatModel) -> Tensor:
    """Return the rows of images whose balls do not meet, (n,) int64, ascending."""
    # Read at once: a GPU would wait for the host at each image.
    apart = (_distances(x, x, threat.norm) > 2 * threat.epsilon).tolist()
    chosen: list[int] = []
    for row in range(len(x)):
        if len(chosen) < MOST and all(apart[row][other] for other in chosen):
            chosen.append(row)
    return torch.tensor(chosen, dtype=torch.int64, device=x.device)


def _distances(points: Tensor, x: Tensor, norm: str) -> Tensor:
    """Return the distance of each point to each image, (N, n)."""
    order = {"linf": torch.inf, "l2": 2.0, "l1": 1.0}
    return torch.cdist(points.flatten(1), x.flatten(1), order[norm])

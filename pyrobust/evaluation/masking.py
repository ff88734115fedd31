"""Signs of masked gradients: attacks by gradient that are weaker than they ought to be.

After Athalye et al. (2018, section 3.1) and Carlini et al. (2019, section 4). A model passes by
being attackable: a larger ball must break more, the whole range of pixels must break everything,
and neither random points nor a single step, nor queries alone, nor the points of another network
may beat forty steps of gradient.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from pyrobust import ops
from pyrobust.attacks import LogitsFn, PgdSettings, ThreatModel, pgd, pgd40
from pyrobust.attacks.gradients import gradient
from pyrobust.attacks.optimizers import make_optimizer
from pyrobust.attacks.threat import is_broken
from pyrobust.evaluation.autoattack import square_stage
from pyrobust.evaluation.checks import Check
from pyrobust.evaluation.outcome import Outcome
from pyrobust.evaluation.stages import Cascade

_RANDOM_POINTS = 20
_FEW_QUERIES = 200
# Any pixel can become grey at this radius, so no image keeps what tells its class.
_WHOLE_RANGE = 0.5
# Of the images that a ball of the whole range must break.
_NEARLY_ALL = 0.95
# Of all images, but at least one: what Square may add to the other attacks (the public bound).
_SQUARE_GAIN = 0.002


def check_masking(
    logits_fn: LogitsFn,
    x: Tensor,
    labels: Tensor,
    threat: ThreatModel,
    seed: int,
    surrogate_fn: LogitsFn | None = None,
) -> list[Check]:
    """Attack a few correctly classified images x (N, C, H, W) in ways of known order.

    Returns no check where there are no such images.

    Args:
        surrogate_fn: another network for these images; its points are tried where it is given.
    """
    if not len(x):
        return []
    ids = torch.arange(len(x), device=x.device)

    def broken(settings: PgdSettings) -> int:
        x_adv = pgd(logits_fn, x, labels, ids, settings, seed)
        return _count_broken(logits_fn, x_adv, labels)

    whole = _WHOLE_RANGE * (math.sqrt(x[0].numel()) if threat.norm == "l2" else 1.0)
    forty = broken(pgd40(threat))
    double = broken(pgd40(replace(threat, epsilon=2 * threat.epsilon)))
    everything = broken(pgd40(replace(threat, epsilon=whole)))
    single = _count_broken(logits_fn, _one_step(logits_fn, x, labels, threat), labels)
    drawn = _broken_at_random(logits_fn, x, labels, ids, threat, seed)
    asked = square_stage(threat, seed, _FEW_QUERIES).run(logits_fn, x, labels, ids)
    queries = _count_broken(logits_fn, asked, labels)

    def check(name: str, passed: bool, other: str, count: int) -> Check:
        seen = f"PGD-40 breaks {forty} of {len(x)} images, {other} {count}"
        return Check(name, passed, seen)

    grows = double > forty or forty == len(x)
    nearly_all = everything >= _NEARLY_ALL * len(x)
    checks = [
        check("larger_epsilon_breaks_more", grows, "with twice epsilon", double),
        check("whole_range_breaks_all", nearly_all, f"with epsilon {whole:.3g}", everything),
        check("many_steps_beat_one", single <= forty, "one step", single),
        check("gradient_beats_chance", drawn <= forty, f"{_RANDOM_POINTS} random points", drawn),
        check("white_box_beats_black_box", queries <= forty, f"{_FEW_QUERIES} queries", queries),
    ]
    if surrogate_fn:
        settings = pgd40(threat, stop_when_broken=False)
        transferred = pgd(surrogate_fn, x, labels, ids, settings, seed)
        moved = _count_broken(logits_fn, transferred, labels)
        words = "the points that it finds on the surrogate"
        checks.append(check("white_box_beats_transfer", moved <= forty, words, moved))
    return checks


def check_square(cascade: Cascade, outcome: Outcome) -> Check:
    """Compare Square, which sees no gradient, with the stages before it."""
    stage = [s.name for s in cascade.stages].index("square")
    found = int((outcome.broken_by == stage).sum())
    seen = f"Square broke {found} of {len(outcome.broken_by)} images that gradients did not"
    passed = found <= max(1, _SQUARE_GAIN * len(outcome.broken_by))
    return Check("gradient_beats_queries", passed, seen)


def _count_broken(logits_fn: LogitsFn, x_adv: Tensor, labels: Tensor) -> int:
    with torch.no_grad():
        return int(is_broken(logits_fn(x_adv), labels).sum())


def _one_step(logits_fn: LogitsFn, x: Tensor, labels: Tensor, threat: ThreatModel) -> Tensor:
    """Return the points of one step of epsilon from the images themselves (FGSM)."""
    grad = gradient(logits_fn, x, ops.margin, labels).grad
    steepest = make_optimizer("steepest", x)
    return steepest.step(x.clone(), x, grad, threat.epsilon, threat)


def _broken_at_random(
    logits_fn: LogitsFn, x: Tensor, labels: Tensor, ids: Tensor, threat: ThreatModel, seed: int
) -> int:
    found = torch.zeros_like(labels, dtype=torch.bool)
    for point in range(_RANDOM_POINTS):
        x_adv = ops.random_start(x, ids, threat.epsilon, threat.norm, seed, point, on_boundary=True)
        with torch.no_grad():
            found |= is_broken(logits_fn(x_adv), labels)
    return int(found.sum())

"""Checks that the result of an attack can be trusted, before and after it.

After the flags of AutoAttack (Croce and Hein 2020) and the check-lists of Athalye et al. (2018)
and Carlini et al. (2019). A failed check does not stop the evaluation; it stands in its result.

After Athalye et al. (2018, section 3.1) and Carlini et al. (2019, section 4). A model passes by
being attackable: a larger ball must break more, the whole range of pixels must break everything,
and neither random points nor a single step, nor queries alone, nor the points of another network
may beat forty steps of gradient.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pyrobust import ops
from pyrobust.attacks import LogitsFn, PgdSettings, ThreatModel, pgd, pgd40
from pyrobust.attacks.network_passes import gradient
from pyrobust.attacks.pgd import make_optimizer
from pyrobust.attacks.threat_model import is_broken
from pyrobust.evaluation.attack_stages import Cascade
from pyrobust.evaluation.autoattack import square_stage
from pyrobust.evaluation.outcomes import Outcome

# Logits that differ by less than this share of the largest one are called equal.
_EQUAL = 1e-5
# Pixels in another range must win by more than this for the range to be called wrong.
_RANGE_GAIN = 0.1


@dataclass(frozen=True)
class Check:
    """What was looked at, whether it is as it should be, and what was seen."""

    name: str
    passed: bool
    seen: str


def check_model(logits_fn: LogitsFn, x: Tensor, labels: Tensor) -> list[Check]:
    """Look at a network through a few images.

    Args:
        x: (N, C, H, W) in [0, 1], at least two of different classes.
        labels: (N,) int64.
    """
    with torch.no_grad():
        logits = logits_fn(x)
        return [
            _finite(logits),
            _equal("deterministic", "twice on the same images", logits, logits_fn(x)),
            _equal(
                "independent_of_batch",
                "with and without other images beside",
                logits[: len(x) // 2],
                logits_fn(x[: len(x) // 2]),
            ),
            _varies(logits),
            _no_probabilities(logits),
            _differentiable(logits_fn, x, labels),
            _input_range(logits_fn, x, labels),
        ]


def _finite(logits: Tensor) -> Check:
    wrong = int((~logits.isfinite()).any(1).sum())
    return Check("finite_logits", wrong == 0, f"{wrong} of {len(logits)} images without")


def _equal(name: str, how: str, one: Tensor, other: Tensor) -> Check:
    """Randomised networks fail the first use, batch norm in training mode the second."""
    difference = float((one - other).abs().max() / one.abs().max().clamp_min(1e-30))
    seen = f"logits computed {how} differ by {difference:.1e} of the largest"
    return Check(name, difference <= _EQUAL, seen)


def _varies(logits: Tensor) -> Check:
    constant = bool((logits == logits[0]).all())
    predictions = len(set(logits.argmax(1).tolist()))
    seen = f"{predictions} classes predicted for {len(logits)} images"
    return Check("depends_on_image", not constant, "the same logits for all" if constant else seen)


def _no_probabilities(logits: Tensor) -> Check:
    """A softmax at the end flattens the loss where the network is sure."""
    sums = logits.sum(1)
    looks_so = bool(((logits >= 0) & (logits <= 1)).all() and (sums - 1).abs().max() < 1e-4)
    seen = f"outputs from {float(logits.min()):.2g} to {float(logits.max()):.2g}"
    return Check("logits_not_probabilities", not looks_so, seen)


def _differentiable(logits_fn: LogitsFn, x: Tensor, labels: Tensor) -> Check:
    """The margin is looked at: cross-entropy may vanish by rounding where a network is sure."""
    grad = gradient(logits_fn, x, ops.margin, labels).grad.flatten(1)
    useless = int((~grad.isfinite().all(1) | (grad == 0).all(1)).sum())
    seen = f"{useless} of {len(x)} images without a gradient"
    return Check("gradients_reach_images", useless == 0, seen)


def _input_range(logits_fn: LogitsFn, x: Tensor, labels: Tensor) -> Check:
    """A network that wants other pixels, or normalises outside, is better on those."""
    mean, std = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True)
    ranges = {
        "in [0, 1]": x,
        "in [0, 255]": 255 * x,
        "standardised": (x - mean) / std.clamp_min(1e-6),
    }
    right = {
        name: int((logits_fn(pixels).argmax(1) == labels).sum()) for name, pixels in ranges.items()
    }
    ours = right["in [0, 1]"]
    passed = max(right.values()) <= ours + _RANGE_GAIN * len(x)
    told = ", ".join(f"{count} with pixels {name}" for name, count in right.items())
    return Check("pixels_in_0_1", passed, f"of {len(x)} images right: {told}")


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

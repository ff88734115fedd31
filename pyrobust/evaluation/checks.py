"""Checks that the result of an attack can be trusted, before and after it.

They follow the flags of AutoAttack (Croce and Hein 2020) and the check-lists of Athalye et al.
(2018, section 3.1) and Carlini et al. (2019, section 4). A model passes by being attackable: a
larger ball must break more, the whole range of pixels must break everything, and neither random
points nor a single step, nor queries alone, nor the points of another network may beat forty steps
of gradient. The attack of the evaluation must also find planted examples (`self_test`). A failed
check does not stop the evaluation; the result lists it.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pyrobust import ops
from pyrobust.attacks import (
    AscentSettings,
    FixedPasses,
    LogitsFn,
    SquareSettings,
    ThreatModel,
    pgd,
    pgd40,
    square,
)
from pyrobust.attacks.network_passes import gradient
from pyrobust.attacks.pgd import make_optimizer
from pyrobust.attacks.threat_model import is_broken, predictions
from pyrobust.evaluation.attack_stages import Cascade
from pyrobust.evaluation.outcomes import Outcome
from pyrobust.evaluation.self_test import find_planted

logger = logging.getLogger(__name__)

# Logits that differ by less than this share of the largest one are called equal.
_EQUAL = 1e-5
# For the range to be called wrong, pixels in another one must win by more than this share of the
# images, and leave at most this share of the errors. By the first alone, and chance, 66 of 800
# honest networks for digits fail, all of them weak (below 70 % correct); by both, 4. Of networks
# for standardised pixels that are at least 88 % correct on these, both find the same ones.
_RANGE_GAIN = 0.1
_RANGE_ERRORS = 0.5
_RANDOM_POINTS = 20
_FEW_QUERIES = 200
# Any pixel can become grey at this radius, so no image keeps any evidence of its class.
_WHOLE_RANGE = 0.5
# In a ball of this share of that radius, any honest network loses some images.
_SMALL = 0.25
# Of the images that a ball of the whole range must break.
_NEARLY_ALL = 0.95
# Of all images, but at least one: what Square may add to the other attacks (the public bound).
_SQUARE_GAIN = 0.002
# A comparison on a few images fails only if chance explains it with less than this probability.
_CHANCE = 0.01
# The self-test decides on the whole evaluation, so fewer than one in a thousand fail by chance.
_PLANTED_CHANCE = 0.001
PLANTED = "attack_finds_planted"


@dataclass(frozen=True)
class TestedAttack:
    """The attack of an evaluation, with the passes that judge its points and those it searches."""

    cascade: Cascade
    judge_fn: FixedPasses
    search_fn: FixedPasses


@dataclass(frozen=True)
class Check:
    """What was looked at, whether it is as it should be, and what was seen.

    `passed` is None if too few images could be tested to fail.
    """

    name: str
    passed: bool | None
    seen: str


def at_least(successes: int, trials: int, share: float) -> float:
    """Return the probability of at least so many successes: the upper tail of a binomial."""
    return math.fsum(
        math.comb(trials, k) * share**k * (1 - share) ** (trials - k)
        for k in range(successes, trials + 1)
    )


def check_model(logits_fn: LogitsFn, x: Tensor, labels: Tensor, threat: ThreatModel) -> list[Check]:
    """Look at a network through a few images.

    Args:
        x: (N, C, H, W) in [0, 1], one or more.
        labels: (N,) int64.
        threat: at random points of this set, too, logits must be finite.
    """
    ids, half = torch.arange(len(x), device=x.device), max(1, len(x) // 2)
    moved = ops.random_start(x, ids, threat.epsilon, threat.norm, 0, 0, on_boundary=True)
    with torch.no_grad():
        logits, of_moved = logits_fn(x), logits_fn(moved)
        return [
            _finite(logits, of_moved),
            _equal("deterministic", "twice on the same images", logits, logits_fn(x)),
            _equal(
                "independent_of_batch",
                "alone and in a batch",
                logits[:half],
                logits_fn(x[:half]),
            ),
            _varies(torch.cat([logits, of_moved])),
            _no_probabilities(logits),
            _differentiable(logits_fn, x, labels),
            _input_range(logits_fn, x, labels),
        ]


def _finite(logits: Tensor, of_moved: Tensor) -> Check:
    wrong, moved = (int((~values.isfinite()).any(1).sum()) for values in (logits, of_moved))
    seen = (
        f"not finite on {wrong} of {len(logits)} images, and on {moved} after random perturbations "
        "of size epsilon"
    )
    return Check("finite_logits", wrong == moved == 0, seen)


def _equal(name: str, how: str, one: Tensor, other: Tensor) -> Check:
    """Compare logits: randomised networks fail one use, batch norm in training mode the other."""
    difference = float((one - other).abs().max() / one.abs().max().clamp_min(1e-30))
    seen = f"logits computed {how} differ by {difference:.1e} of the largest"
    return Check(name, difference <= _EQUAL, seen)


def _varies(logits: Tensor) -> Check:
    constant = bool((logits == logits[0]).all())
    classes = len(set(predictions(logits).tolist()))
    seen = f"{classes} classes predicted for {len(logits)} images, half of them moved at random"
    return Check("depends_on_image", not constant, "the same logits for all" if constant else seen)


def _no_probabilities(logits: Tensor) -> Check:
    """Recognise a softmax at the end, which flattens the loss where the network is sure."""
    sums = logits.sum(1)
    looks_so = bool(((logits >= 0) & (logits <= 1)).all() and (sums - 1).abs().max() < 1e-4)
    seen = f"outputs from {float(logits.min()):.2g} to {float(logits.max()):.2g}"
    return Check("logits_not_probabilities", not looks_so, seen)


def _differentiable(logits_fn: LogitsFn, x: Tensor, labels: Tensor) -> Check:
    """Look at the margin: cross-entropy may vanish by rounding where a network is sure."""
    grad = gradient(logits_fn, x, ops.margin, labels).grad.flatten(1)
    useless = int((~grad.isfinite().all(1) | (grad == 0).all(1)).sum())
    seen = f"{useless} of {len(x)} images without a gradient"
    return Check("gradients_reach_images", useless == 0, seen)


def _input_range(logits_fn: LogitsFn, x: Tensor, labels: Tensor) -> Check:
    """Compare pixel ranges: a network that normalises outside is better on other pixels."""
    mean, std = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), correction=0, keepdim=True)
    others = {"in [0, 255]": 255 * x, "standardised": (x - mean) / std.clamp_min(1e-6)}
    ours = ~is_broken(logits_fn(x), labels)
    seen, passed = (
        f"correctly classified, of {len(x)}: {int(ours.sum())} with pixels in [0, 1]",
        True,
    )
    for name, pixels in others.items():
        theirs = ~is_broken(logits_fn(pixels), labels)
        gain = int(theirs.sum()) - int(ours.sum())
        seen += f", {int(theirs.sum())} with pixels {name}"
        passed &= (
            gain <= _RANGE_GAIN * len(x)
            or _chance_of_more(theirs, ours) >= _CHANCE
            or int((~theirs).sum()) > _RANGE_ERRORS * int((~ours).sum())
        )
    if not passed:
        seen += "; if the model expects other pixels, state its normalisation (mean, std)"
    return Check("pixels_in_0_1", passed, seen)


def _chance_of_more(more: Tensor, fewer: Tensor) -> float:
    """Return the p-value of a one-sided sign test for two properties (N,) bool of the same images.

    Of the images that have one property and not the other, half would have the first by chance.
    """
    gained, lost = int((more & ~fewer).sum()), int((fewer & ~more).sum())
    return at_least(gained, gained + lost, 0.5)


def check_masking(
    logits_fn: LogitsFn,
    x: Tensor,
    labels: Tensor,
    threat: ThreatModel,
    seed: int,
    surrogate_fn: LogitsFn | None = None,
    attack: TestedAttack | None = None,
) -> list[Check]:
    """Attack a few correctly classified images x (N, C, H, W) in ways of known order.

    Without such images, all that is returned is that `attack` could not be tested. An order that is
    broken by a few images fails only if chance explains it with a probability below 0.01
    (`_chance_of_more`, `at_least`).

    Args:
        surrogate_fn: another network for these images; its points are tried where it is given.
        attack: must find planted examples, where it is given.
    """
    if not len(x):
        return [_untested(0, 0)] if attack else []
    ids, count = torch.arange(len(x), device=x.device), len(x)

    def broken(settings: AscentSettings, found_on: LogitsFn = logits_fn) -> Tensor:
        return _broken(logits_fn, pgd(found_on, x, labels, ids, settings, seed), labels)

    forty = broken(pgd40(threat))

    def seen(other: str, theirs: Tensor) -> str:
        return f"broken, of {count}: {int(forty.sum())} by PGD-40, {int(theirs.sum())} by {other}"

    def weaker(name: str, other: str, theirs: Tensor) -> Check:
        chance = _chance_of_more(theirs, forty)
        return Check(name, chance >= _CHANCE, f"{seen(other, theirs)} (p = {chance:.2g})")

    size = x[0].numel()
    whole = _WHOLE_RANGE * {"linf": 1.0, "l2": math.sqrt(size), "l1": size}[threat.norm]
    factor, larger = 2, broken(pgd40(replace(threat, epsilon=2 * threat.epsilon)))
    # Around an honest network, a very small ball and twice that ball may both break nothing.
    small = _SMALL * whole
    while not larger.sum() > forty.sum() and not forty.all() and factor * threat.epsilon < small:
        factor *= 2
        larger = broken(pgd40(replace(threat, epsilon=factor * threat.epsilon)))
    # An honest network loses at least every second image that is left.
    none_of_left = 0.5 ** int((~forty).sum())
    grows = bool(larger.sum() > forty.sum()) or none_of_left >= _CHANCE
    times = "twice" if factor == 2 else f"{factor} times"
    everything = broken(pgd40(replace(threat, epsilon=whole)))
    left = at_least(count - int(everything.sum()), count, 1 - _NEARLY_ALL)
    few_queries = SquareSettings(threat, _FEW_QUERIES)
    lowest = square(logits_fn, x, labels, ids, few_queries, seed)
    single = _broken(logits_fn, _one_step(logits_fn, x, labels, threat), labels)
    drawn = _broken_at_random(logits_fn, x, labels, ids, threat, seed)
    queried = _broken(logits_fn, lowest, labels)
    checks = [
        Check("larger_epsilon_breaks_more", grows, seen(f"PGD-40 with {times} epsilon", larger)),
        Check(
            "whole_range_breaks_all",
            left >= _CHANCE,
            f"{seen(f'PGD-40 with epsilon {whole:.3g}', everything)} (p = {left:.2g})",
        ),
        weaker("many_steps_beat_one", "one step", single),
        weaker("gradient_beats_chance", f"{_RANDOM_POINTS} random points", drawn),
        weaker("white_box_beats_black_box", f"Square with {_FEW_QUERIES} queries", queried),
    ]
    if surrogate_fn:
        moved = broken(pgd40(threat, stop_when_broken=False), surrogate_fn)
        words = "points found on the surrogate"
        checks.append(weaker("white_box_beats_transfer", words, moved))
    if attack:
        checks.append(_check_planted(attack, x, labels, lowest, threat))
    return checks


def _check_planted(
    attack: TestedAttack,
    x: Tensor,
    labels: Tensor,
    lowest: Tensor,
    threat: ThreatModel,
) -> Check:
    seen = find_planted(
        attack.cascade, attack.judge_fn, attack.search_fn, x, labels, lowest, threat
    )
    count = seen.planted + seen.flat
    chance = at_least(count - seen.found, count, 1 - _NEARLY_ALL)
    words = f"the attack found {seen.found} of {count} planted adversarial examples"
    if seen.flat:
        words += f"; around {seen.flat} of these images the logits do not change, or are random"
    if at_least(count, count, 1 - _NEARLY_ALL) >= _PLANTED_CHANCE:  # all missed by chance
        return _untested(count, len(x))
    return Check(PLANTED, chance >= _PLANTED_CHANCE, f"{words} (p = {chance:.2g})")


def _untested(count: int, correct: int) -> Check:
    words = f"too few images to test: {count} of {correct} that are classified correctly"
    return Check(PLANTED, None, words)


def is_trusted(checks: Sequence[Check]) -> bool | None:
    """Return whether the attack passed the self-test among `checks`; None if none was possible."""
    return next((check.passed for check in checks if check.name == PLANTED), None)


def warn_of_failures(checks: Sequence[Check]) -> None:
    """Log each check that failed."""
    for check in checks:
        if check.passed is False:
            logger.warning("warning: %s failed: %s", check.name, check.seen)


def check_square(cascade: Cascade, outcome: Outcome) -> Check:
    """Compare Square, which sees no gradient, with the stages before it."""
    stage = [s.name for s in cascade.stages].index("square")
    found = int((outcome.broken_by == stage).sum())
    seen = f"Square broke {found} of {len(outcome.broken_by)} images that gradients did not"
    passed = found <= max(1, _SQUARE_GAIN * len(outcome.broken_by))
    return Check("gradient_beats_queries", passed, seen)


def _broken(logits_fn: LogitsFn, x_adv: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        return is_broken(logits_fn(x_adv), labels)


def _one_step(logits_fn: LogitsFn, x: Tensor, labels: Tensor, threat: ThreatModel) -> Tensor:
    """Return the points of one step of epsilon from the images themselves (FGSM)."""
    grad = gradient(logits_fn, x, ops.margin, labels).grad
    steepest = make_optimizer("steepest", x)
    return steepest.step(x.clone(), x, grad, threat.epsilon, threat)


def _broken_at_random(
    logits_fn: LogitsFn, x: Tensor, labels: Tensor, ids: Tensor, threat: ThreatModel, seed: int
) -> Tensor:
    found = torch.zeros_like(labels, dtype=torch.bool)
    for point in range(_RANDOM_POINTS):
        x_adv = ops.random_start(x, ids, threat.epsilon, threat.norm, seed, point, on_boundary=True)
        found |= _broken(logits_fn, x_adv, labels)
    return found

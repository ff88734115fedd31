"""Networks whose evaluation would not mean what it says are caught."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pyrobust.attacks import FixedPasses, LogitsFn, ThreatModel
from pyrobust.attacks.threat_model import is_broken
from pyrobust.evaluation.attack_stages import Cascade, apgd_stage
from pyrobust.evaluation.autoattack import square_stage
from pyrobust.evaluation.cascade import CascadeRun
from pyrobust.evaluation.checks import (
    Check,
    _input_range,
    at_least,
    check_masking,
    check_model,
    check_square,
)
from pyrobust.evaluation.model_under_test import Subject

THREAT = ThreatModel("linf", 16 / 255)


def failures(logits_fn: LogitsFn, subject: Subject) -> set[str]:
    x, labels = subject.load(range(32))
    checks = check_model(FixedPasses(logits_fn, 32), x, labels, THREAT)
    return {check.name for check in checks if not check.passed}


def test_an_honest_network_passes(subject: Subject) -> None:
    assert failures(subject.logits_fn, subject) == set()


def test_a_constant_network_is_caught(subject: Subject) -> None:
    def constant(x: Tensor) -> Tensor:
        return torch.arange(10.0).expand(len(x), 10)

    assert failures(constant, subject) == {"depends_on_image", "gradients_reach_images"}


BROKEN: dict[str, Callable[[LogitsFn], LogitsFn]] = {
    "deterministic": lambda f: lambda x: f(x + 0.05 * torch.randn_like(x)),
    "logits_not_probabilities": lambda f: lambda x: f(x).softmax(1),
    "gradients_reach_images": lambda f: lambda x: f((8 * x).round() / 8),
    "pixels_in_0_1": lambda f: lambda x: f(x / 255),
    "finite_logits": lambda f: lambda x: f(x) / x.flatten(1)[:, 10:11].gt(0.5),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_network_is_caught(name: str, subject: Subject) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert name in failures(BROKEN[name](subject.logits_fn), subject)


def test_normalisation_outside_the_network_is_caught(subject: Subject) -> None:
    # The same network for standardised pixels: what it was trained on minus mean, over std.
    def standardised(x: Tensor) -> Tensor:
        return subject.logits_fn(x * 0.37 + 0.3)

    assert "pixels_in_0_1" in failures(standardised, subject)


@pytest.mark.parametrize(("standardised", "caught"), [(22, False), (24, True)])
def test_a_weak_network_that_gains_by_contrast_passes(
    standardised: int, caught: bool, subject: Subject
) -> None:
    labels = subject.load(range(32))[1]

    def weak(x: Tensor) -> Tensor:
        right = torch.arange(32) < (standardised if x.min() < 0 else 14)
        return 1.0 * nn.functional.one_hot(torch.where(right, labels, (labels + 1) % 10), 10)

    check = _input_range(weak, subject.load(range(32))[0], labels)
    assert check.passed is not caught, check.seen


def test_batch_norm_in_training_mode_is_caught(subject: Subject) -> None:
    assert isinstance(subject.logits_fn, nn.Module)
    subject.logits_fn.train()
    assert "independent_of_batch" in failures(subject.logits_fn, subject)


def masking_failures(
    logits_fn: LogitsFn,
    subject: Subject,
    surrogate_fn: LogitsFn | None = None,
    threat: ThreatModel = THREAT,
) -> set[str]:
    logits_fn = FixedPasses(logits_fn, 32)
    x, labels = subject.load(range(32))
    right = logits_fn(x).argmax(1) == labels
    checks = check_masking(logits_fn, x[right], labels[right], threat, 0, surrogate_fn)
    return {check.name for check in checks if not check.passed}


def test_a_network_with_gradients_shows_no_masking(subject: Subject) -> None:
    assert masking_failures(subject.logits_fn, subject) == set()


def test_a_ball_so_small_that_twice_it_breaks_nothing_shows_no_masking(subject: Subject) -> None:
    threat = ThreatModel("linf", 0.05 / 255)
    logits_fn = FixedPasses(subject.logits_fn, 32)
    x, labels = subject.load(range(32))
    right = ~is_broken(logits_fn(x), labels)
    checks = check_masking(logits_fn, x[right], labels[right], threat, 0)
    assert [check for check in checks if not check.passed] == []
    (larger,) = [check for check in checks if check.name == "larger_epsilon_breaks_more"]
    assert ": 0 by PGD-40," in larger.seen and "twice" not in larger.seen, "the case tells nothing"


def test_a_network_without_gradients_shows_masking(subject: Subject) -> None:
    # The answers of the same network, so close to steps that no gradient is left.
    failed = masking_failures(lambda x: (1e3 * subject.logits_fn(x)).round(), subject)
    assert {"larger_epsilon_breaks_more", "whole_range_breaks_all"} <= failed


def test_chance_queries_and_transferred_points_show_masking(subject: Subject) -> None:
    # The same classes in steps: no gradient is left, but the network before it was spoiled, queries
    # and even chance find points in a ball as large as this.
    failed = masking_failures(
        lambda x: (4 * subject.logits_fn(x)).round(),
        subject,
        subject.logits_fn,
        ThreatModel("linf", 112 / 255),
    )
    assert {
        "gradient_beats_chance",
        "white_box_beats_black_box",
        "white_box_beats_transfer",
    } <= failed


@pytest.mark.parametrize(
    "threat", [ThreatModel("linf", 32 / 255), ThreatModel("l2", 1.0)], ids=["linf", "l2"]
)
def test_one_step_that_beats_many_shows_masking(threat: ThreatModel, subject: Subject) -> None:
    def on_grey_levels(x: Tensor) -> Tensor:
        """The same answers, with a gradient at images of 256 grey levels and nowhere else."""
        levels = 255 * x
        whole = ((levels - levels.round()).abs() < 1e-3).flatten(1).all(1)
        return subject.logits_fn(torch.where(whole[:, None, None, None], x, x.detach()))

    assert "many_steps_beat_one" in masking_failures(on_grey_levels, subject, threat=threat)
    assert masking_failures(subject.logits_fn, subject, threat=threat) == set()


def square_after_gradients(logits_fn: LogitsFn, subject: Subject, folder: Path) -> Check:
    """Return what AutoAttack would say about its last stage, after a short first one."""
    threat = ThreatModel("linf", 32 / 255)
    stages = (
        apgd_stage("apgd_ce", "cross_entropy", threat, subject.num_classes, 1, 10, seed=0),
        square_stage(threat, seed=1, num_queries=100),
    )
    cascade, passes = Cascade("autoattack", stages), FixedPasses(logits_fn, 32)
    run = CascadeRun(passes, passes, threat, subject.load, folder, keep_adversarial=False)
    return check_square(cascade, run.attack(cascade, range(32), lambda _: None))


def test_queries_that_beat_gradients_show_masking(subject: Subject, tmp_path: Path) -> None:
    # The answers of the same network, without a gradient.
    masked = square_after_gradients(
        lambda x: subject.logits_fn(x.detach()), subject, tmp_path / "masked"
    )
    assert (masked.name, masked.passed) == ("gradient_beats_queries", False), masked
    honest = square_after_gradients(subject.logits_fn, subject, tmp_path / "honest")
    assert honest.passed, honest
    assert honest.seen.startswith("Square broke ")


def test_an_honest_network_is_no_more_robust_against_its_own_points(subject: Subject) -> None:
    def other(x: Tensor) -> Tensor:
        return subject.logits_fn(x.flip(3))

    assert masking_failures(subject.logits_fn, subject, other) == set()


def test_nothing_is_said_about_masking_where_no_image_is_right(subject: Subject) -> None:
    x, labels = subject.load(range(0))
    assert check_masking(subject.logits_fn, x, labels, THREAT, seed=0) == []


def moved_to_nan(subject: Subject) -> LogitsFn:
    """The same network, whose logits are NaN once a pixel is not one of 256 grey levels."""

    def logits(x: Tensor) -> Tensor:
        levels = 255 * x
        whole = ((levels - levels.round()).abs() < 1e-3).flatten(1).all(1, keepdim=True)
        return torch.where(whole, subject.logits_fn(x), torch.nan)

    return logits


def test_logits_that_turn_nan_in_the_ball_are_caught(subject: Subject) -> None:
    assert "finite_logits" in failures(moved_to_nan(subject), subject)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_images_fail_no_check_by_chance(count: int, subject: Subject) -> None:
    x, labels = subject.load(range(count))
    logits_fn = FixedPasses(subject.logits_fn, 32)
    right = ~is_broken(logits_fn(x), labels)
    checks = check_model(logits_fn, x, labels, THREAT)
    checks += check_masking(logits_fn, x[right], labels[right], THREAT, seed=0)
    assert [check for check in checks if not check.passed] == []


def test_the_tail_of_the_binomial_is_exact() -> None:
    assert at_least(0, 0, 0.5) == 1
    assert at_least(7, 7, 0.5) == pytest.approx(2**-7)
    assert at_least(1, 3, 0.05) == pytest.approx(1 - 0.95**3)

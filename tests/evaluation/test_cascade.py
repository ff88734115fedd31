"""Cascades: what resumes, and that an image's result is its own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pyrobust.attacks import FixedPasses
from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.evaluation.aa_mt import aa_mt
from pyrobust.evaluation.attack_stages import Cascade, Stage, judge_and_search_passes
from pyrobust.evaluation.cascade import CascadeRun
from pyrobust.evaluation.model_under_test import Subject
from pyrobust.evaluation.outcomes import Outcome

SMALL = EvaluationSettings(
    apgd_ce_steps=6,
    apgd_ce_restarts=1,
    apgd_dlr_steps=6,
    apgd_dlr_restarts=1,
    multitargeted_steps=6,
    multitargeted_restarts=1,
    multitargeted_targets=2,
)


def run_of(subject: Subject, folder: Path) -> CascadeRun:
    logits_fn = FixedPasses(subject.logits_fn, 16)
    return CascadeRun(
        logits_fn, logits_fn, subject.threat, subject.load, folder, keep_adversarial=True
    )


def attack(subject: Subject, folder: Path, cascade: Cascade, batch_size: int, count: int = 48):
    run = run_of(subject, folder)
    batches = (range(i, min(i + batch_size, count)) for i in range(0, count, batch_size))
    return Outcome.joined(run.attack(cascade, rows, lambda _: None) for rows in batches)


def assert_equal(one: Outcome, other: Outcome) -> None:
    for name, value in vars(one).items():
        if name != "seconds":
            np.testing.assert_array_equal(getattr(other, name), value, err_msg=name)


@pytest.fixture
def cascade(subject: Subject) -> Cascade:
    return aa_mt(SMALL, subject.threat, subject.num_classes)


def test_stages_break_images_in_order(subject: Subject, cascade: Cascade, tmp_path: Path) -> None:
    outcome = attack(subject, tmp_path, cascade, 48)
    found = [int((outcome.broken_by == number).sum()) for number in range(3)]
    assert found[0] > 0
    assert 0 < outcome.standing.sum() < outcome.clean_correct.sum()
    assert (outcome.margin[outcome.broken_by >= 0] <= 0).all()
    assert (outcome.adversarial_prediction[outcome.standing] >= 0).all()
    broken = outcome.broken_by >= 0
    labels = subject.images.labels[:48]
    assert (outcome.adversarial_prediction[broken] != labels[broken]).all()


def test_results_do_not_depend_on_the_batch_size(
    subject: Subject, cascade: Cascade, tmp_path: Path
) -> None:
    together = attack(subject, tmp_path / "24", cascade, 24, count=24)
    for batch_size in (5, 17):
        folder = tmp_path / str(batch_size)
        assert_equal(together, attack(subject, folder, cascade, batch_size, count=24))


@pytest.mark.parametrize(("first", "then"), [(8, 24), (24, 8)])
def test_saved_batches_of_another_size_are_not_used(
    first: int, then: int, subject: Subject, cascade: Cascade, tmp_path: Path
) -> None:
    expected = attack(subject, tmp_path / "new", cascade, then, count=24)
    attack(subject, tmp_path / "old", cascade, first, count=24)
    assert_equal(expected, attack(subject, tmp_path / "old", cascade, then, count=24))


def test_a_killed_run_resumes_and_ends_with_the_same_rows(
    subject: Subject, cascade: Cascade, tmp_path: Path
) -> None:
    whole = attack(subject, tmp_path / "whole", cascade, 20)
    calls = []

    def interrupted(stage: Stage, limit: int) -> Stage:
        def run(*arguments):
            if len(calls) == limit:
                raise KeyboardInterrupt
            calls.append(stage.name)
            return stage.run(*arguments)

        return replace(stage, run=run)

    for limit in range(9):
        stages = tuple(interrupted(stage, limit) for stage in cascade.stages)
        with pytest.raises(KeyboardInterrupt):
            attack(subject, tmp_path / "cut", Cascade(cascade.name, stages), 20)
    assert_equal(whole, attack(subject, tmp_path / "cut", cascade, 20))
    # Nothing was attacked twice: three stages of three batches.
    assert len(calls) == 8


def test_finished_batches_are_only_read(subject: Subject, cascade: Cascade, tmp_path: Path) -> None:
    first = attack(subject, tmp_path, cascade, 20)

    def refuse(*_):
        raise AssertionError("attacked again")

    stages = tuple(replace(stage, run=refuse) for stage in cascade.stages)
    advanced = []
    run = run_of(subject, tmp_path)
    again = run.attack(Cascade(cascade.name, stages), range(20), advanced.append)
    np.testing.assert_array_equal(again.margin, first.margin[:20])
    assert sum(advanced) == 60


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-40]),
        lambda path: path.write_bytes(path.read_bytes().replace(b"\0", b"\1")),
        lambda path: np.savez(path, clean_prediction=np.zeros(12)),
        lambda path: path.write_bytes(b"\x93NUMPY\1\0"),
    ],
    ids=["empty", "torn", "changed", "of another version", "no archive"],
)
def test_a_damaged_state_is_reported_and_computed_again(
    damage: Callable[[Path], object],
    subject: Subject,
    cascade: Cascade,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = attack(subject, tmp_path, cascade, 12, count=12)
    (path,) = tmp_path.glob("*.npz")
    damage(path)
    assert_equal(whole, attack(subject, tmp_path, cascade, 12, count=12))
    assert f"{path} is damaged" in caplog.text and "is computed again" in caplog.text


def test_images_that_only_the_stand_in_gets_wrong_are_attacked_again(
    subject: Subject, cascade: Cascade, tmp_path: Path
) -> None:
    plain = run_of(subject, tmp_path / "plain")

    def mistaken(x: torch.Tensor) -> torch.Tensor:
        """Take every point for another class than the network does."""
        return plain.logits_fn(x).roll(1, 1)

    with_stand_in = replace(plain, search_fn=mistaken, folder=tmp_path / "stand-in")
    ours = with_stand_in.attack(cascade, range(24), lambda _: None)
    theirs = plain.attack(cascade, range(24), lambda _: None)
    np.testing.assert_array_equal(ours.broken_by, theirs.broken_by)


def test_a_search_in_bfloat16_counts_only_what_float32_confirms(
    subject: Subject, cascade: Cascade, tmp_path: Path
) -> None:
    plain = run_of(subject, tmp_path / "plain")
    x, labels = subject.load(range(48))
    _, search_fn = judge_and_search_passes(subject.logits_fn, "bfloat16", 16, x[:16])
    assert 1e-5 < (search_fn(x) - plain.logits_fn(x)).abs().max() < 0.5
    run = replace(plain, search_fn=search_fn, folder=tmp_path / "bfloat16")
    ours = run.attack(cascade, range(48), lambda _: None)
    theirs = plain.attack(cascade, range(48), lambda _: None)
    assert abs(int(ours.standing.sum()) - int(theirs.standing.sum())) <= 1
    right = plain.logits_fn(torch.from_numpy(ours.x_adv)).argmax(1) == labels
    np.testing.assert_array_equal(right.numpy(), ours.standing)
    # In a batch by itself an image ends the same: bits are those of its own pass.
    alone = replace(run, folder=tmp_path / "alone").attack(cascade, range(5, 9), lambda _: None)
    np.testing.assert_array_equal(alone.margin, ours.margin[5:9])

"""A point counts only after it was checked."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pyrobust.attacks import ThreatModel
from pyrobust.evaluation.outcomes import UNBROKEN, Outcome

THREAT = ThreatModel("linf", 0.1)
X = torch.tensor([0.4, 0.45, 0.05, 0.7]).view(4, 1, 1, 1)
LABELS = torch.tensor([0, 0, 0, 0])


def above_half(x: Tensor) -> Tensor:
    """Class 1 where the only pixel is above one half."""
    pixel = x.flatten(1)
    return torch.cat([0.5 - pixel, pixel - 0.5], 1)


def before(keep_adversarial: bool = False) -> Outcome:
    return Outcome.before_attack(above_half, X, LABELS, keep_adversarial)


def judged(points: list[float], keep_adversarial: bool = False) -> Outcome:
    """Return the outcome after one stage found `points` for the three standing images."""
    outcome = before(keep_adversarial)
    x_adv = torch.tensor(points).view(-1, 1, 1, 1)
    outcome.judge(np.arange(3), above_half, X[:3], LABELS[:3], x_adv, THREAT, seconds=1.5)
    return outcome


def test_clean_images_have_their_own_margin() -> None:
    outcome = before()
    assert outcome.standing.tolist() == [True, True, True, False]
    assert outcome.clean_prediction.tolist() == [0, 0, 0, 1]
    np.testing.assert_allclose(outcome.margin, [0.2, 0.1, 0.9, -0.4], atol=1e-6)
    assert outcome.stages_done == 0


def test_only_allowed_and_misclassified_points_break_an_image() -> None:
    # Misclassified but too far away; misclassified and allowed; worse but still right.
    outcome = judged([0.55, 0.52, 0.1])
    assert outcome.broken_by.tolist() == [UNBROKEN, 0, UNBROKEN, UNBROKEN]
    assert outcome.adversarial_prediction.tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(outcome.margin, [0.2, -0.04, 0.8, -0.4], atol=1e-6)
    np.testing.assert_allclose(outcome.perturbation_norm, [0, 0.07, 0.05, 0], atol=1e-6)
    assert outcome.refused.tolist() == [1]


def test_points_outside_the_pixel_range_are_refused() -> None:
    x, labels = torch.tensor([0.97]).view(1, 1, 1, 1), torch.tensor([1])

    def below(images: Tensor) -> Tensor:
        return torch.cat([images.flatten(1) - 1, 1 - images.flatten(1)], 1)

    outcome = Outcome.before_attack(below, x, labels, False)
    outcome.judge(np.arange(1), below, x, labels, x + 0.05, THREAT, 0.0)
    assert outcome.broken_by.tolist() == [UNBROKEN]
    assert outcome.refused.tolist() == [1]


def test_a_point_that_is_no_worse_is_not_kept() -> None:
    outcome = judged([0.35, 0.45, 0.05])
    np.testing.assert_allclose(outcome.margin, before().margin)
    assert not outcome.perturbation_norm.any()


def test_later_stages_meet_what_stands() -> None:
    outcome = judged([0.5, 0.52, 0.1])
    assert outcome.standing.tolist() == [True, False, True, False]
    rows = np.array([0, 2])
    points = torch.tensor([0.4, 0.15]).view(-1, 1, 1, 1)
    outcome.judge(rows, above_half, X[rows], LABELS[rows], points, THREAT, 0.5)
    assert outcome.broken_by.tolist() == [UNBROKEN, 0, UNBROKEN, UNBROKEN]
    np.testing.assert_allclose(outcome.margin, [0.0, -0.04, 0.7, -0.4], atol=1e-6)
    assert outcome.stages_done == 2


def test_kept_points_are_the_worst_ones() -> None:
    outcome = judged([0.55, 0.52, 0.1], keep_adversarial=True)
    np.testing.assert_allclose(outcome.x_adv.ravel(), [0.4, 0.52, 0.1, 0.7], atol=1e-7)


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    outcome = judged([0.5, 0.52, 0.1], keep_adversarial=True)
    outcome.save(tmp_path / "batch.npz")
    loaded = Outcome.load(tmp_path / "batch.npz")
    for name, value in vars(outcome).items():
        np.testing.assert_array_equal(getattr(loaded, name), value)
        assert getattr(loaded, name).dtype == value.dtype, name


def test_joined_outcomes_are_in_order_and_counts_add_up() -> None:
    joined = Outcome.joined([judged([0.55, 0.52, 0.1]), judged([0.55, 0.55, 0.1])])
    assert joined.broken_by.tolist() == [-1, 0, -1, -1, -1, 0, -1, -1]
    assert joined.refused.tolist() == [2]
    assert joined.seconds.tolist() == [3.0]


def test_the_clean_prediction_stays_when_an_attack_succeeds() -> None:
    def logits_fn(x: Tensor) -> Tensor:
        total = x.flatten(1).sum(1)
        return torch.stack([0.5 - total, total - 0.5], dim=1)

    x = torch.full((1, 1, 1, 1), 0.4)
    outcome = Outcome.before_attack(logits_fn, x, torch.tensor([0]), keep_adversarial=False)
    outcome.judge(
        np.array([0]), logits_fn, x, torch.tensor([0]), x + 0.2, ThreatModel("linf", 0.3), 0.0
    )
    assert outcome.clean_prediction.tolist() == [0]
    assert outcome.adversarial_prediction.tolist() == [1]

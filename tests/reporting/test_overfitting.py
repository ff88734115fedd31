"""Robust overfitting: the gap between training and validation images, and which case it is."""

from typing import Any

import pytest

from pyrobust.reporting import claims
from pyrobust.reporting.overfitting import overfitting_chart, overfitting_of


def run(
    train: list[float], validation: list[float], images: int = 1024, mixing_factor: float = 0.5
) -> dict[str, Any]:
    history = [
        {"step": 100 * n, "robust_accuracy": right, "train_robust_accuracy": fitted,
         "live_robust_accuracy": max(right - 0.02, 0),
         "live_train_robust_accuracy": min(fitted + 0.05, 1)}
        for n, (fitted, right) in enumerate(zip(train, validation, strict=True), 1)
    ]  # fmt: skip
    return {
        "history": history, "settings": {"gap_images": 1000, "mixing_factor": mixing_factor},
        "num_original": 5000, "validation": {"num_images": images},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("train", "validation", "case", "sentence"),
    [
        (
            [0.5, 0.7, 0.9],
            [0.45, 0.55, 0.45],
            "too_long",
            "peaked at step 200 and then fell by 10.",
        ),
        ([0.5, 0.6, 0.7], [0.45, 0.50, 0.55], "too_few_images", "unique images seem too few"),
        ([0.3, 0.4, 0.45], [0.3, 0.39, 0.44], "too_small", "No overfitting is measurable"),
    ],
)
def test_each_case_is_named(
    train: list[float], validation: list[float], case: str, sentence: str
) -> None:
    found = overfitting_of([run(train, validation), run(train, validation)])
    assert found is not None
    assert found["case"] == case
    assert sentence in claims.overfitting({"overfitting": found})


def test_the_gap_is_the_mean_over_runs_for_both_sets_of_weights() -> None:
    found = overfitting_of([run([0.6, 0.8], [0.5, 0.5]), run([0.6, 0.7], [0.5, 0.6])])
    assert found is not None
    assert found["averaged"]["gap"] == pytest.approx(0.2)
    assert found["live"]["gap"] == pytest.approx(0.27)
    low, high = found["averaged"]["gap_interval"]
    assert low < 0.2 < high
    assert [point["step"] for point in found["averaged"]["curve"]] == [100, 200]
    assert (found["averaged"]["num_validation_images"], found["num_images"]) == (1024, 1000)
    assert "live weights" in overfitting_chart(found)


def test_images_that_all_agree_leave_the_gap_uncertain() -> None:
    found = overfitting_of([run([0.9, 1.0], [0.9, 1.0], images=20)])
    assert found is not None
    low, high = found["averaged"]["gap_interval"]
    assert low < 0 < high
    assert found["case"] == "too_small"


def test_one_image_that_falls_is_no_robust_overfitting() -> None:
    fallen = overfitting_of([run([0.0, 0.0], [0.05, 0.0], images=20)])
    assert fallen is not None
    assert (fallen["averaged"]["fall"], fallen["case"]) == (0.05, "too_small")


def test_no_image_is_a_training_image_where_training_used_no_original() -> None:
    assert overfitting_of([run([0.6, 0.8], [0.5, 0.5], mixing_factor=0.0)]) is None


def test_every_gap_of_the_page_has_an_interval_and_its_images() -> None:
    found = overfitting_of([run([0.5, 0.6], [0.45, 0.5])])
    text = claims.overfitting({"overfitting": found})
    assert "between 1,000 training images and 1,024 validation images is +10.0 points (95" in text
    assert ", 1,000 validation images) with the live ones." in text


def test_runs_that_measured_no_gap_have_none() -> None:
    bare = run([0.6], [0.5])
    bare["history"] = [{"step": 100, "robust_accuracy": 0.5}]
    assert overfitting_of([bare]) is None

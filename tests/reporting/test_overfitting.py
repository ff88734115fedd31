"""Robust overfitting: the gap between training and validation images, and which case it is."""

from typing import Any

import pytest

from pyrobust.reporting import claims
from pyrobust.reporting.overfitting import overfitting_chart, overfitting_of


def run(train: list[float], validation: list[float]) -> dict[str, Any]:
    history = [
        {"step": 100 * n, "robust_accuracy": right, "train_robust_accuracy": fitted,
         "live_robust_accuracy": right - 0.02, "live_train_robust_accuracy": fitted + 0.05}
        for n, (fitted, right) in enumerate(zip(train, validation, strict=True), 1)
    ]  # fmt: skip
    return {
        "history": history, "settings": {"gap_images": 1000}, "num_original": 5000,
        "validation": {"num_images": 1024},
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
        ([0.5, 0.6, 0.7], [0.45, 0.50, 0.55], "too_few_images", "too few unique images"),
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
    assert (low + high) / 2 == pytest.approx(0.2)
    assert [point["step"] for point in found["averaged"]["curve"]] == [100, 200]
    assert (found["averaged"]["num_validation_images"], found["num_images"]) == (1024, 1000)
    assert "live weights" in overfitting_chart(found, "A title")


def test_runs_that_measured_no_gap_have_none() -> None:
    bare = run([0.6], [0.5])
    bare["history"] = [{"step": 100, "robust_accuracy": 0.5}]
    assert overfitting_of([bare]) is None

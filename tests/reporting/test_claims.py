"""The page claims what the intervals allow, and no more."""

from typing import Any

import pytest

from pyrobust.reporting.claims import fid_caveat, gain, labeller_under_attack
from pyrobust.reporting.wording import duration, interval, percent, points


def record_with(low: float, difference: float, high: float, **baseline: Any) -> dict[str, Any]:
    robust = {"difference": difference, "interval": [low, high]}
    facts = {
        "experiment": "other",
        "num_images": 500,
        "differs_in": ["mixing_factor"],
        "uses_generated": False,
        "clean_accuracy": {"difference": 0.0, "interval": [-0.01, 0.01]},
        "robust_accuracy": robust,
    }
    return {"baseline": facts | baseline}


@pytest.mark.parametrize(
    ("low", "difference", "high", "claim"),
    [
        (0.01, 0.05, 0.09, "Generated data raised robust accuracy by +5.0 points [+1.0, +9.0]."),
        (-0.09, -0.05, -0.01, "did not help: robust accuracy fell by −5.0 points [−9.0, −1.0]."),
        (-0.02, 0.01, 0.04, "made no difference to robust accuracy that 500 images can show"),
    ],
)
def test_the_gain_is_claimed_only_beyond_its_interval(
    low: float, difference: float, high: float, claim: str
) -> None:
    assert claim in gain(record_with(low, difference, high))


def test_generated_data_get_no_credit_for_other_differences() -> None:
    record = record_with(0.01, 0.05, 0.09, differs_in=["architecture", "mixing_factor"])
    assert gain(record).startswith("What differs from other (architecture, mixing_factor) raised")


@pytest.mark.parametrize(("passed", "says"), [(True, "works"), (False, "too weak to trust")])
def test_a_weak_attack_is_called_weak(passed: bool, says: str) -> None:
    check = {
        "num_images": 500,
        "robust_accuracy": 0.0 if passed else 0.3,
        "clean_accuracy": 0.9,
        "limit": 0.05,
        "passed": passed,
    }
    assert says in labeller_under_attack({"labeller": {"attack_check": check}})


@pytest.mark.parametrize(("comparable", "says"), [(True, ", those"), (False, ", not those")])
def test_the_frechet_distance_says_what_it_compares_with(comparable: bool, says: str) -> None:
    quality = {"comparable_with_published": comparable, "extractor": "labeller", "notes": []}
    assert f"{says} of published FID" in fid_caveat(quality)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (percent(0.6073, 10_000), "60.73%"),
        (percent(0.6073, 500), "60.7%"),
        (interval([0.551, 0.6844], 200), "55.1 to 68.4%"),
        (points(-0.0125, 10_000), "−1.25"),
        (duration(0.004), "under 0.1 s"),
        (duration(42.04), "42.0 s"),
        (duration(95), "1 min 35 s"),
        (duration(28_440), "7.9 h"),
    ],
)
def test_numbers_read_well(text: str, expected: str) -> None:
    assert text == expected

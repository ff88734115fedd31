"""The page claims what the intervals allow, and no more."""

from dataclasses import asdict
from typing import Any

import pytest

from pyrobust.reporting.claims import (
    effect,
    effect_basis,
    effect_name,
    fid_caveat,
    labeller_under_attack,
    memory,
    paper,
    steps_in_words,
)
from pyrobust.reporting.published_results import result_of
from pyrobust.reporting.wording import duration, interval, percent, points


def arm(mean: float) -> dict[str, Any]:
    return {"num_runs": 4, "mean": mean, "std": 0.012, "interval": [mean - 0.02, mean + 0.02]}


def record_with(low: float, difference: float, high: float, **baseline: Any) -> dict[str, Any]:
    bounds = {"difference": difference, "interval": [low, high]}
    clean = {"difference": 0.004, "interval": [-0.01, 0.02]}
    arms = {"experiment": arm(0.8 + difference), "baseline": arm(0.8)}
    facts = {
        "experiment": "other",
        "attack": "aa_mt",
        "num_images": 500,
        "num_runs": 4,
        "differs_in": ["mixing_factor"],
        "uses_generated": False,
        "clean_accuracy": clean,
        "robust_accuracy": {**bounds, "only_this": 20, "only_baseline": 7},
        "effect": {"robust_accuracy": {**bounds, **arms}, "clean_accuracy": {**clean, **arms}},
    }
    return {"baseline": facts | baseline, "generator": {}}


@pytest.mark.parametrize(
    ("low", "difference", "high", "claim"),
    [
        (0.01, 0.05, 0.09, "Generated data raises robust accuracy by 5.0 points (95% CI 1.0 to"),
        (-0.09, -0.05, -0.01, "lowers robust accuracy by 5.0 points (95% CI 1.0 to 9.0)"),
        (
            -0.02,
            0.01,
            0.04,
            "Whether generated data changes robust accuracy is open: the difference",
        ),
        (0.0, 0.02, 0.04, "is open: the difference is +2.0 points (95% CI +0.0 to +4.0)"),
    ],
)
def test_an_effect_is_claimed_only_beyond_its_interval(
    low: float, difference: float, high: float, claim: str
) -> None:
    text = effect(record_with(low, difference, high))
    assert claim in text
    assert "Mean over 4 training runs" in text
    assert "(sd 1.2)" in text


def test_one_pair_of_models_claims_nothing_about_data() -> None:
    record = record_with(0.01, 0.05, 0.09, effect=None, num_runs=2)
    assert effect(record).startswith(
        "The chosen model and that of other differ by +5.0 points in robust accuracy on these 500"
    )
    assert "no evidence about generated data" in effect_basis(record)
    assert "Generated data" not in effect(record) + effect_name(record)


def test_runs_that_do_not_differ_are_not_told_to_be_three() -> None:
    text = effect_basis(record_with(0.01, 0.05, 0.09, effect=None, num_runs=4))
    assert text.startswith("The 4 runs of each experiment do not differ in robust accuracy")
    assert "no evidence about generated data" in text
    assert "at least" not in text


def test_generated_data_get_no_credit_for_other_differences() -> None:
    record = record_with(0.01, 0.05, 0.09, differs_in=["architecture", "mixing_factor"])
    assert effect(record).startswith("The change from other (architecture, mixing_factor) raises")
    assert effect_name(record) == "Difference from baseline"


def test_the_interval_of_an_effect_says_what_it_leaves_out() -> None:
    record = record_with(0.01, 0.05, 0.09)
    assert "or training the generator again" in effect_basis(record)
    assert "generator" not in effect_basis({**record, "generator": None})


def test_the_papers_number_comes_with_what_differs() -> None:
    result = result_of("cifar10", "linf", "8/255", "wrn-28-10", None, 0, 1.0)
    assert result is not None
    beside = result.beside("aa_mt", 1.0, 80, "gowal21")
    text = paper({"paper": {**asdict(result), "beside": beside}})
    assert "54.44% robust accuracy under AA+MT. What differs here: 80 epochs (paper: 400); " in text
    assert text.endswith("the run that validation chose (paper: mean of 10 runs).")
    ddpm = result_of("cifar10", "linf", "8/255", "wrn-28-10", "ddpm", 1_000_000, 0.3)
    assert ddpm is not None
    beside = ddpm.beside("aa_mt", 0.3, 400, "gowal21")
    text = paper({"paper": {**asdict(ddpm), "beside": beside}})
    assert text.endswith("Mixing factor, epochs and recipe are the same.")


@pytest.mark.parametrize(
    ("generator", "sentence"),
    [
        ({"type": "ddpm"}, "A DDPM was trained on the training images; "),
        ({"type": "edm", "path": "x"}, "Pretrained weights of an EDM drew the samples; "),
        ({"type": "gaussian"}, "A class-conditional Gaussian was fitted to the training images; "),
        ({"type": "imported", "name": "edm5m", "path": "x"}, "Samples of edm5m were imported; "),
    ],
)
def test_the_origin_of_the_samples_is_named(generator: dict[str, str], sentence: str) -> None:
    counts = {"train": 1, "validation": 1, "test": 1}
    settings = {"labeller": {"architecture": "wrn-10-1"}, "generator": generator, "norm": "linf",
                "selection": {"protocol": "first", "label_source": "labeller"}, "num_samples": 1,
                "mixing_factor": 0.3, "epsilon": "8/255"}  # fmt: skip
    record = {"settings": settings, "dataset": {"name": "x", "counts": counts}, "training": {},
              "labeller": {"test_accuracy": 0.9}, "generator": {}, "autoattack": None,
              "runs": [{"test": None}], "chosen_seed": 0, "num_images": 1}  # fmt: skip
    assert steps_in_words(record)[2].startswith(sentence)


@pytest.mark.parametrize(
    ("train", "test", "says"),
    [(0.44, 0.23, "There are signs of it: of"), (0.30, 0.28, "No sign of it"), (0, 0, "too few")],
)
@pytest.mark.parametrize("extractor", ["inception", "labeller"])
def test_memory_is_judged_by_the_interval(
    train: float, test: float, says: str, extractor: str
) -> None:
    neighbours = {
        "extractor": extractor,
        "complementarity": {"train": train, "test": test, "self": 1 - train - test},
        "num_samples": 1000,
        "set_sizes": {"train": 500, "test": 500, "self": 500},
        "copies": {"train": 0.01},
    }
    text = memory({"generator": {"neighbours": neighbours}})
    assert says in text
    assert "1% equal a training image exactly" in text or "1.0% equal" in text
    # The labeller has seen the training images, so its features are no clean witness.
    assert ("even without memorisation" in text) == (extractor == "labeller" and train > 0.4)


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("broken", "works"),
        ("small_radius", "the radius is small for these images"),
        ("weak_attack", "too weak to trust"),
    ],
)
def test_a_weak_attack_is_distinguished_from_a_small_radius(case: str, says: str) -> None:
    check = {
        "num_images": 500,
        "robust_accuracy": 0.0 if case == "broken" else 0.3,
        "clean_accuracy": 0.9,
        "limit": 0.05,
        "case": case,
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

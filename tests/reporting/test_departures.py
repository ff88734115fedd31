"""What the paper states, what its code does and what ours does are three columns."""

from typing import Any

import pytest

from pyrobust.config import parse_settings
from pyrobust.config.experiment import check_training
from pyrobust.config.training import TrainSettings
from pyrobust.reporting.departures import departures, training_departures
from pyrobust.reporting.protocols import TRAINING
from pyrobust.reporting.published_results import RESULTS, result_of, unlike
from pyrobust.reporting.stage_results import parse_experiment
from tests.reporting.fixtures import experiment_values

COUNTS = {"train": 48_976, "validation": 1024, "test": 10_000}
PAPER = {
    "dataset": "cifar10", "epsilon": "8/255", "training": {}, "num_samples": 1_000_000,
    "generator": {"name": "ddpm", "type": "ddpm"}, "selection": {"name": "until_full"},
}  # fmt: skip


def found(labeller: float = 0.9568, **changes: Any) -> dict[str, dict[str, Any]]:
    experiment = parse_experiment("x", experiment_values() | PAPER | changes)
    training = check_training(experiment.settings).model_dump(mode="json")
    rows = departures(experiment, training, labeller, COUNTS)
    return {row["topic"]: row for row in rows}


def test_every_choice_is_a_setting_of_the_training() -> None:
    later = {"objective", "awp_gamma"}  # absent at their defaults
    assert set(TRAINING) - later <= set(TrainSettings.model_fields)


def test_the_defaults_agree_with_what_the_paper_states() -> None:
    assert training_departures(TrainSettings().model_dump(mode="json")) == {}
    # Where the paper is silent, the authors' machines decide, and ours differs from these.
    rows = found()
    assert (rows["virtual_batch"]["paper"], rows["virtual_batch"]["authors"]) == (None, 32)
    assert rows["virtual_batch"]["ours"] == "the whole batch"
    assert rows["emulated_workers"]["ours"] == 1
    assert rows["training runs (seeds)"]["authors"] == 1
    assert "without those of validation" in rows["images that the generator was trained on"]["ours"]
    assert "labeller accuracy" not in rows
    assert "mixing factor" not in rows


def test_the_authors_recipe_departs_from_their_code_in_no_training_setting() -> None:
    assert not found(recipe="authors").keys() & TRAINING.keys()
    settings = parse_settings(TrainSettings, {"recipe": "authors"}).model_dump(mode="json")
    assert training_departures(settings) == {}


def test_100m_samples_are_trained_for_2000_epochs_in_the_paper() -> None:
    assert "epochs" not in found(num_samples=100_000_000, training={"epochs": 2000})
    assert found(num_samples=100_000_000)["epochs"]["paper"] == 2000
    assert found(training={"epochs": 2000})["epochs"]["paper"] == 400


@pytest.mark.parametrize(
    ("changes", "topic", "ours"),
    [
        ({"seeds": [3]}, "training runs (seeds)", 1),
        ({"num_samples": 50_000}, "generated images", 50_000),
        ({"labeller_accuracy": 0.8}, "labeller accuracy", "80.00%"),
        ({"training": {"attack_optimizer": "steepest"}}, "attack_optimizer", "steepest"),
        ({"mixing_factor": 0.5}, "mixing factor", 0.5),
        ({"selection": {"name": "s", "label_source": "condition"}},
         "labels of generated images", "the drawn class"),
        ({"selection": {"name": "s", "protocol": "top_k", "oversampling": 5}},
         "selection of generated images", "the most confident 1 of 5 of each class"),
    ],
)  # fmt: skip
def test_each_departure_is_listed(changes: dict[str, Any], topic: str, ours: Any) -> None:
    labeller = changes.pop("labeller_accuracy", 0.9568)
    assert found(labeller, **changes)[topic]["ours"] == ours


@pytest.mark.parametrize(
    "generator",
    [{"name": "x", "type": "ddpm", "path": "ddpm-cifar10-32"},
     {"name": "x", "type": "imported", "path": "edm"}],
)  # fmt: skip
def test_weights_and_samples_of_others_have_seen_the_validation_images(
    generator: dict[str, str],
) -> None:
    row = found(generator=generator)["images that the generator was trained on"]
    assert row["ours"] == "those of its publisher, presumably with the validation images"


def test_training_without_generated_images_has_no_choices_about_them() -> None:
    rows = found(mixing_factor=1)
    assert not {"generated images", "labeller accuracy", "mixing factor"} & rows.keys()


def test_the_papers_model_at_another_mixing_factor_says_so() -> None:
    task = ("cifar10", "linf", "8/255", "wrn-28-10", "ddpm", 1_000_000)
    alone, best = result_of(*task, 0.0), result_of(*task, 0.3)
    assert alone is not None
    assert best is not None
    assert (alone.robust_accuracy, best.robust_accuracy) == (0.5843, 0.6073)
    assert unlike(alone, 0.0, 400, "gowal21") == unlike(best, 0.3, 400, "authors") == []
    assert unlike(best, 0.5, 80, "wang23") == [
        "mixing factor 0.5 (paper: its best, not stated; 0.3 in the authors' code)",
        "80 epochs (paper: 400)",
        "recipe wang23 (paper: gowal21)",
    ]


@pytest.mark.parametrize(
    ("task", "generator"),
    [(("cifar10", "l2", "128/255"), "ddpm"), (("cifar100", "linf", "8/255"), "ddpm"),
     (("cifar10", "linf", "8/255"), "stylegan2")],
)  # fmt: skip
def test_the_mixing_factor_of_the_authors_code_is_of_its_one_task(
    task: tuple[str, str, str], generator: str
) -> None:
    result = result_of(*task, "wrn-28-10", generator, 1_000_000)
    assert result is not None
    expected = ["mixing factor 0.3 (paper: its best, not stated)"]
    assert unlike(result, 0.3, 400, "gowal21") == expected


def test_tinyimagenet_is_held_against_class_conditional_samples() -> None:
    rows = found(
        dataset="tinyimagenet",
        generator={"name": "edm", "type": "edm"},
        selection={"name": "as_conditioned", "label_source": "condition"},
    )
    assert rows["generator"]["paper"] == "a DDPM of ImageNet's images"
    assert "labels of generated images" not in rows
    labelled = found(dataset="tinyimagenet")["labels of generated images"]
    assert labelled["paper"] == "the drawn class"


def test_either_label_of_gaussian_samples_is_the_papers() -> None:
    generator = {"name": "gaussian", "type": "gaussian"}
    for source in ("labeller", "condition"):
        rows = found(generator=generator, selection={"name": "s", "label_source": source})
        assert "labels of generated images" not in rows


def test_a_model_trained_on_external_data_is_beside_no_run_of_ours() -> None:
    (external,) = (result for result in RESULTS if result.external_data)
    assert (external.robust_accuracy, external.architecture) == (0.6587, "wrn-70-16")
    ours = result_of("cifar10", "linf", "8/255", "wrn-70-16", None, 0, 1.0)
    assert ours is not None
    assert ours.robust_accuracy == 0.5714


def test_aa_mt_is_beside_aa_mt() -> None:
    result = result_of("cifar100", "linf", "8/255", "wrn-28-10", "ddpm", 1_000_000)
    assert result is not None
    assert result.robust_under("aa_mt") == (0.3123, "aa_mt")
    assert result.robust_under("worst") == (0.3081, "worst")
    svhn = result_of("svhn", "linf", "8/255", "wrn-28-10", "ddpm", 1_000_000)
    assert svhn is not None
    assert svhn.robust_under("aa_mt") == (0.609, "worst")
    differs = svhn.beside("aa_mt", 0.3, 400, "gowal21")["differs"]
    assert differs[-1] == "AA+MT (paper: the lower of AA+MT and AutoAttack)"


def test_what_the_paper_attacked_by_aa_mt_alone_is_not_called_the_lower_of_both() -> None:
    alone = result_of("cifar10", "linf", "8/255", "wrn-28-10", "ddpm", 1_000_000, 0.0)
    assert alone is not None
    beside = alone.beside("worst", 0.0, 400, "gowal21")
    assert (beside["robust_accuracy"], beside["attack"]) == (0.5843, "aa_mt")
    assert beside["differs"] == ["the lower of AA+MT and AutoAttack (paper: AA+MT)"]


def test_a_stand_in_for_the_generator_of_tinyimagenet_is_named() -> None:
    task = ("tinyimagenet", "linf", "8/255", "wrn-28-10")
    mixed, alone = result_of(*task, "edm", 1_000_000, 0.3), result_of(*task, None, 0, 1.0)
    assert mixed is not None
    assert alone is not None
    named = "a generator of TinyImageNet's images (paper: a DDPM of ImageNet's images)"
    assert named in unlike(mixed, 0.3, 400, "gowal21")
    assert unlike(alone, 1.0, 400, "gowal21") == []

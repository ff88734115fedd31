"""Recipes and the refusals of training settings."""

import pytest

from pyrobust.config import parse_epsilon, parse_settings
from pyrobust.config.training import OBJECTIVE_SETTINGS, LabellerSettings, TrainSettings
from pyrobust.errors import UserError
from pyrobust.training.objectives import OBJECTIVES


@pytest.mark.parametrize(
    ("text", "radius"), [("8/255", 8 / 255), ("0.1", 0.1), ("1", 1.0), ("0.5/2", 0.25)]
)
def test_epsilon_is_a_fraction_or_a_decimal(text: str, radius: float) -> None:
    assert parse_epsilon(text) == radius


# What defines each recipe, as the authors' code has it.
GOWAL21 = {
    "batch_size": 1024,
    "learning_rate": 0.1,
    "schedule": "cosine",
    "warmup": 0.025,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "averaging_decay": 0.995,
    "averaging_start": 0.0,
    "trades_beta": 6.0,
    "label_smoothing": 0.1,
    "label_smoothing_on": "generated",
    "attack_optimizer": "adam",
    "attack_step_size": "0.1",
    "attack_steps": 10,
    "batch_norm_updates": "adversarial",
    "virtual_batch": 0,
    "emulated_workers": 1,
    "zero_logits": True,
    "epochs": 400.0,
    "epoch_size": 50_000,
    "mixing_factor": 0.3,
}
WANG23 = {
    **GOWAL21,
    "batch_size": 512,
    "schedule": "cyclic",
    "averaging_start": 0.025,
    "trades_beta": 5.0,
    "label_smoothing_on": "all",
    "attack_optimizer": "steepest",
    "attack_step_size": "2/255",
    "batch_norm_updates": "both",
    "zero_logits": False,
}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, GOWAL21),
        ({"norm": "l2", "epsilon": "128/255"}, GOWAL21),
        ({"recipe": "authors"}, {"virtual_batch": 32, "emulated_workers": 4, "trades_beta": 6.0}),
        ({"recipe": "wang23"}, WANG23),
        ({"recipe": "wang23", "norm": "l2"}, {**WANG23, "attack_step_size": "25.6/255"}),
    ],
)
def test_a_recipe_sets_all_that_defines_it(
    given: dict[str, object], expected: dict[str, object]
) -> None:
    settings = parse_settings(TrainSettings, given).model_dump()
    assert {key: settings[key] for key in expected} == expected


def test_a_given_setting_wins_over_the_recipe() -> None:
    settings = parse_settings(TrainSettings, {"recipe": "wang23", "trades_beta": 6.0})
    assert settings.trades_beta == 6.0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"epsilon": "300/255"}, ["300/255", "at most 1"]),
        ({"epsilon": "0/255"}, ["0/255", "above 0"]),
        ({"epsilon": "eight"}, ["epsilon", "eight", "8/255"]),
        ({"mixing_factor": 1.5}, ["mixing_factor", "1.5", "less than or equal to 1"]),
        ({"norm": "l1"}, ["norm", "l1", "'linf' or 'l2'"]),
        ({"architecture": "vgg-16"}, ["architecture", "vgg-16", "wrn-DEPTH-WIDTH"]),
        ({"recipe": "mine"}, ["recipe", "mine", "gowal21"]),
        ({"epohcs": 3}, ["epohcs", "epochs"]),
    ],
)
def test_a_wrong_setting_names_key_value_and_expectation(
    values: dict[str, object], words: list[str]
) -> None:
    with pytest.raises(UserError) as refusal:
        parse_settings(TrainSettings, values)
    message = str(refusal.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


MADRY = {"objective": "adversarial_training"}


def test_a_network_has_two_names_and_one_setting() -> None:
    named = parse_settings(TrainSettings, {"architecture": "preactresnet-34"})
    assert named == parse_settings(TrainSettings, {"architecture": "resnet-34"})
    with pytest.raises(UserError, match="wrn-DEPTH-WIDTH"):
        parse_settings(TrainSettings, {"architecture": "preactresnet-19"})


OWN = {"architecture": "torchvision.models:resnet18"}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"mart_lambda": 6},
            "mart_lambda is 6.0 but has no effect: objective is trades; leave it out, or use "
            "objective mart",
        ),
        ({**MADRY, "trades_beta": 5}, "trades_beta is 5.0 .* or use objective trades$"),
        ({**MADRY, "batch_norm_updates": "both"}, "or use objective trades or mart$"),
        ({"objective": "mart", "recipe": "wang23", "trades_beta": 6}, "trades_beta is 6.0"),
        ({**MADRY, "recipe": "wang23", "batch_norm_updates": "adversarial"}, "_updates is adver"),
        ({"attack_steps": 0, "attack_step_size": "1/255"}, "attack_steps is 0"),
        ({"attack_steps": 0, "attack_optimizer": "steepest"}, "attack_optimizer is steepest"),
        ({"label_smoothing": 0, "label_smoothing_on": "all"}, "label_smoothing is 0"),
        ({"averaging_decay": 0, "averaging_start": 0.5}, "averaging_start is 0.5"),
        ({**OWN, "activation": "relu"}, "activation is relu but has no effect: the constructor"),
    ],
)
def test_a_setting_that_nothing_reads_is_refused(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        parse_settings(TrainSettings, values)


@pytest.mark.parametrize(
    "values",
    [
        {"objective": "mart", "mart_lambda": 6, "batch_norm_updates": "both"},
        {**MADRY, "recipe": "wang23"},
        {"objective": "mart", "recipe": "wang23", "norm": "l2", "attack_steps": 0},
        {"objective": "my_objectives:Mine", "trades_beta": 5, "mart_lambda": 6},
        {**OWN, "activation": "silu"},
    ],
)
def test_values_of_the_recipe_and_settings_that_are_read_are_accepted(
    values: dict[str, object],
) -> None:
    settings = parse_settings(TrainSettings, values)
    assert parse_settings(TrainSettings, settings.model_dump(mode="json")) == settings


# By which an objective may schedule itself, what it is robust to, and what it may refuse.
READ_BY_EVERY_TRAINING = {
    *("norm", "epsilon", "warmup", "epochs", "epoch_size", "batch_size", "virtual_batch"),
}


def test_every_objective_lists_the_settings_that_it_reads() -> None:
    assert set(OBJECTIVE_SETTINGS) == set(OBJECTIVES)
    for name, make in OBJECTIVES.items():
        read: set[str] = set()

        class Recording(TrainSettings):
            def __getattribute__(self, key: str, read: set[str] = read) -> object:
                read.add(key)
                return super().__getattribute__(key)

        settings = Recording(objective=name)
        read.clear()
        make(settings)
        own = {key for key in read if not key.startswith("_")} - READ_BY_EVERY_TRAINING
        assert own == set(OBJECTIVE_SETTINGS[name])


def test_a_labeller_refuses_an_activation_that_its_architecture_ignores() -> None:
    with pytest.raises(UserError, match="activation is relu but has no effect"):
        parse_settings(LabellerSettings, {**OWN, "activation": "relu"})

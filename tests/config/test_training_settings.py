"""Recipes and the refusals of training settings."""

import pytest

from pyrobust.config import parse_epsilon, parse_settings
from pyrobust.config.training import TrainSettings
from pyrobust.errors import UserError


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

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


def test_recipe_fills_in_what_is_not_given() -> None:
    settings = parse_settings(TrainSettings, {"recipe": "wang23"})
    assert (settings.batch_size, settings.trades_beta) == (512, 5.0)
    assert (settings.attack_optimizer, settings.attack_step_size) == ("steepest", "2/255")


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

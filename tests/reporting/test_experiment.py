"""Experiments are read with their sections, and compared by what shapes a model."""

import pytest

from pyrobust.errors import UserError
from pyrobust.reporting.effects import differences
from pyrobust.reporting.stage_results import parse_experiment
from tests.reporting.fixtures import experiment_values


def test_sections_keep_their_name_and_get_their_defaults() -> None:
    experiment = parse_experiment("x", experiment_values())
    generator = experiment.as_json()["generator"]
    assert generator["name"] == "gaussian_small"
    assert generator["part_size"] == 100_000


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (experiment_values(generator="gaussian"), 'generator of experiment .x. is "gaussian"'),
        (experiment_values(mixing_factor=1.5), "mixing_factor is 1.5"),
        (experiment_values(selection={"name": "a", "protocol": "best"}), "protocol is 'best'"),
    ],
)
def test_wrong_settings_are_refused_in_one_sentence(
    values: dict[str, object], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        parse_experiment("x", values)


ATTACK = experiment_values()["evaluation"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"mixing_factor": 1}, ["mixing_factor"]),
        ({"mixing_factor": 1, "num_samples": 5}, ["mixing_factor"]),
        ({"mixing_factor": 0.5, "num_samples": 5}, ["mixing_factor", "num_samples"]),
        ({"seeds": [7, 9], "baseline": "y"}, []),
        ({"evaluation": {**ATTACK, "name": "more", "autoattack": True, "curve": []}}, []),
        ({"selection": {"name": "until_full", "min_score": 0.5}}, ["selection"]),
    ],
)
def test_only_settings_that_shape_the_model_count(
    changes: dict[str, object], expected: list[str]
) -> None:
    one = parse_experiment("x", experiment_values())
    other = parse_experiment("y", experiment_values() | changes)
    assert differences(one, other) == expected


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seeds": [0]}, "its number of seeds is 1 instead of 2"),
        ({"seeds": [0, 1, 2, 3]}, "its number of seeds is 4 instead of 2"),
        ({"test_runs": "chosen"}, "its test_runs is chosen instead of all"),
        ({"evaluation": {"name": "aa_mt"}}, "its apgd_ce_steps of the evaluation is 100 inst"),
        ({"evaluation": {**ATTACK, "num_images": 50}}, "its num_images of the evaluation is 50"),
    ],
)
def test_experiments_that_were_measured_in_different_ways_are_not_compared(
    changes: dict[str, object], sentence: str
) -> None:
    one = parse_experiment("x", experiment_values())
    other = parse_experiment("y", experiment_values() | changes)
    with pytest.raises(UserError, match=sentence):
        differences(one, other)

"""The configuration file: schema, references, and the promise that it is up to date."""

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from pyrobust.config.experiment import check_config
from pyrobust.config.manual import manual
from pyrobust.config.schema import config_schema, schema_text
from pyrobust.errors import UserError

ROOT = Path(__file__).parents[2]
SCHEMA_FILE = ROOT / "workflow/schemas/config.schema.json"


@pytest.fixture
def config() -> dict[str, Any]:
    return copy.deepcopy(yaml.safe_load((ROOT / "config/config.yaml").read_text()))


def test_shipped_schema_is_what_the_settings_say() -> None:
    assert SCHEMA_FILE.read_text() == schema_text(), (
        "run: python -m pyrobust.config.schema > workflow/schemas/config.schema.json"
    )


def test_shipped_manual_is_what_the_settings_say() -> None:
    assert (ROOT / "config/README.md").read_text() == manual(), (
        "run: python -m pyrobust.config.manual > config/README.md"
    )


def test_shipped_config_fits_the_schema_and_its_references_hold(config: dict[str, Any]) -> None:
    jsonschema.validate(config, config_schema())
    check_config(config)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("experiments/digits_linf/dataset", "cifar11", ["digits_linf.dataset", "cifar11"]),
        ("experiments/digits_linf/labeller", "vgg", ["digits_linf.labeller", "vgg"]),
        ("experiments/digits_linf/baseline", "nothing", ["baseline", "nothing"]),
        ("experiments/digits_linf/epsilon", "300/255", ["digits_linf", "300/255"]),
        ("experiments/digits_linf/training/epohcs", 3, ["digits_linf", "epohcs"]),
    ],
)
def test_a_wrong_reference_names_experiment_and_value(
    config: dict[str, Any], path: str, value: object, words: list[str]
) -> None:
    *parents, key = path.split("/")
    section = config
    for parent in parents:
        section = section[parent]
    section[key] = value
    with pytest.raises(UserError) as refusal:
        check_config(config)
    assert all(word in str(refusal.value) for word in words), refusal.value


def test_experiments_of_the_paper_keep_its_settings(config: dict[str, Any]) -> None:
    paper = {
        "architecture": "wrn-28-10",
        "generator": "ddpm",
        "num_samples": 1_000_000,
        "mixing_factor": 0.3,
    }
    for name in ("cifar10_linf", "cifar10_l2", "cifar100_linf", "svhn_linf", "tinyimagenet_linf"):
        experiment = config["experiments"][name]
        assert {key: experiment[key] for key in paper} == paper, name
        assert "training" not in experiment, f"{name} departs from the recipe"
        assert len(experiment["seeds"]) == 2, name


def test_schema_describes_every_experiment_key() -> None:
    properties = config_schema()["properties"]["experiments"]["additionalProperties"]["properties"]
    assert json.loads(SCHEMA_FILE.read_text())
    assert properties["training"]["additionalProperties"] is False
    assert "epsilon" not in properties["training"]["properties"]

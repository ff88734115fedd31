"""The configuration file: values, references, and its manual."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from pyrobust.config.analysis import (
    AnalysisSettings,
    FeatureSettings,
    NeighbourSettings,
    QualitySettings,
)
from pyrobust.config.base import Settings, parse_settings
from pyrobust.config.data import DatasetSettings, SelectionSettings
from pyrobust.config.evaluation import EvaluationSettings, LandscapeSettings, ThreatSettings
from pyrobust.config.experiment import parse_config, read_config
from pyrobust.config.generators import GeneratorSettings
from pyrobust.config.manual import manual
from pyrobust.config.training import LabellerSettings, TrainSettings
from pyrobust.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config() -> dict[str, Any]:
    return copy.deepcopy(yaml.safe_load((ROOT / "config/config.yaml").read_text()))


def test_shipped_manual_is_what_the_settings_say() -> None:
    assert (ROOT / "config/README.md").read_text() == manual(), (
        "run: python -m pyrobust.config.manual > config/README.md"
    )


def test_every_key_of_the_manual_has_a_meaning() -> None:
    rows = [line.strip("|").split("|") for line in manual().splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert [key for key, _, meaning in rows if len(meaning.split()) < 2] == []


def test_the_shipped_configuration_is_valid(config: dict[str, Any]) -> None:
    assert "digits_linf" in parse_config(config).experiments


def test_files_are_laid_over_one_another_key_by_key(tmp_path: Path) -> None:
    shipped = ROOT / "config/config.yaml"
    (tmp_path / "one.yaml").write_text("experiments: {digits_linf: {mixing_factor: 0.4}}")
    (tmp_path / "two.yaml").write_text("compared: [digits_l2]\nlabellers: {big: {epochs: 3}}")
    config = read_config([shipped, tmp_path / "one.yaml", tmp_path / "two.yaml"])
    assert config.experiments["digits_linf"].mixing_factor == 0.4
    assert config.experiments["digits_linf"].num_samples == 3200
    assert (config.compared, config.labellers["big"].epochs) == (("digits_l2",), 3)


@pytest.mark.parametrize("text", ["1e-3", "1.0e-3", "0.001", "'1e-3'"])
def test_a_number_may_be_written_as_people_write_it(config: dict[str, Any], text: str) -> None:
    config["generators"]["gaussian"] = {"jitter": yaml.safe_load(text)}
    assert parse_config(config).generators["gaussian"].jitter == 1e-3


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("experiments/digits_linf/dataset", "cifar11", ["digits_linf.dataset", "cifar11"]),
        ("experiments/digits_linf/labeller", "vgg", ["digits_linf.labeller", "vgg"]),
        ("experiments/digits_linf/baseline", "nothing", ["baseline", "nothing"]),
        ("experiments/digits_linf/epsilon", "300/255", ["digits_linf", "300/255"]),
        ("experiments/digits_linf/training/epohcs", 3, ["digits_linf", "epohcs"]),
        ("experiments/digits_linf/training/seed", 3, ["training.seed is not allowed", "seeds"]),
        ("experiments/digits_linf/training/epsilon", 1, ["training.epsilon is not allowed"]),
        ("experiments/digits_linf/baseline", "digits_linf", ["digits_linf", "itself"]),
        ("experiments/digits_linf/baseline", "digits_l2", ["norm is l2 instead of linf"]),
        ("experiments/digits_linf/baseline", "cifar10_linf", ["dataset is cifar10", "digits"]),
        ("experiments/digits_linf/seeds", [0, 1, 2], ["number of seeds is 4 instead of 3"]),
        ("experiments/digits_linf/test_runs", "chosen", ["test_runs is all instead of chosen"]),
        ("experiments/digits_linf/evaluation", "aa_mt", ["apgd_ce_steps of the evaluation is 20"]),
        ("features_while_labelling", {"nobody": "labeller"}, ["features_while", "'nobody: lab"]),
        ("features_while_labelling", {"ddpm": "nothing"}, ["features_while", "'ddpm: nothing'"]),
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
        parse_config(config)
    assert all(word in str(refusal.value) for word in words), refusal.value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("experiments:", "experiments is None: expected a mapping of keys to values"),
        ("experiments: [a]", "experiments is ['a']: expected a mapping of keys to values"),
        ("experiments: {digits_linf: 7}", "digits_linf is 7: expected a mapping of keys"),
        ("experiments: {'Mein é': {}}", "invalid name 'Mein é' in experiments: use lower-case"),
        ("experiments: {'../x': {}}", "invalid name '../x' in experiments: use lower-case"),
        ("experiments: {1: {}}", "invalid name 1 in experiments: use lower-case letters"),
        ("7: 3", "invalid name 7: use lower-case letters"),
        ("generators: {gaussian_small: 3}", "gaussian_small is 3: expected a mapping"),
        ("generators: {gaussian_small: }", "gaussian_small is None: expected a mapping"),
        (
            "generators: {gaussian_small: {type: [gan]}}",
            "type is ['gan']: input should be a valid string",
        ),
        ("generators: {gaussian_small: {jitter: .inf}}", "jitter is inf: input should be a finite"),
        ("labellers: {digits: {epochs: .nan}}", "epochs is nan: input should be a finite number"),
        ("labellers: {digits: {seed: 99999999999999999999}}", "99: must be below 2^63"),
        ("labellers: {digits: {architecture: wrn-11-1}}", "'wrn-11-1': expected a wrn of depth 10"),
        ("labellers: {digits: {architecture: vgg}}", "'vgg': expected wrn-DEPTH-WIDTH such as"),
        ("evaluations: {small: {curve: 3}}", "curve is 3: expected a list"),
        ("evaluation_jobs: 100000000", "evaluation_jobs is 100000000: input should be less"),
        ("experiments: {digits_l2: {epsilon: 8/0}}", "'8/0': expected a non-negative number such"),
        ("experiments: {digits_l2: {epsilon: true}}", "epsilon is True: input should be a valid"),
        ("experiments: {digits_l2: {seeds: [1, 1]}}", "seeds is [1, 1]: seeds must be distinct"),
    ],
)
def test_a_wrong_value_is_named_in_one_sentence(
    config: dict[str, Any], text: str, sentence: str
) -> None:
    ((section, given),) = yaml.safe_load(text).items()
    entries = config.get(section)
    if isinstance(entries, dict) and isinstance(given, dict):
        for name, values in given.items():
            known = entries.get(name)
            entries[name] = {**known, **values} if known and isinstance(values, dict) else values
    else:
        config[section] = given
    with pytest.raises(UserError) as refusal:
        parse_config(config)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "model",
    [
        *(DatasetSettings, SelectionSettings, LabellerSettings, TrainSettings, GeneratorSettings),
        *(EvaluationSettings, LandscapeSettings),
        *(FeatureSettings, NeighbourSettings, QualitySettings, AnalysisSettings),
    ],
)
def test_every_seed_has_63_bits(model: type[Settings]) -> None:
    for seed, sentence in ((-1, "greater than or equal to 0"), (2**63, "must be below 2\\^63")):
        with pytest.raises(UserError, match=rf"seed is {seed}: .*{sentence}"):
            parse_settings(model, {"seed": seed})


def test_an_experiment_cannot_take_the_place_of_the_page_of_all(config: dict[str, Any]) -> None:
    config["experiments"]["report"] = config["experiments"]["digits_linf_no_generated"]
    with pytest.raises(UserError, match=r"experiments\.report: .*results/report\.html"):
        parse_config(config)


@pytest.mark.parametrize(("given", "text"), [(1e-5, "0.00001"), (0.03, "0.03"), (1, "1")])
def test_a_radius_that_yaml_reads_as_a_number_is_spelled_as_people_write_it(
    given: float, text: str
) -> None:
    threat = parse_settings(ThreatSettings, {"norm": "linf", "epsilon": given})
    assert threat.epsilon == text


def test_more_parts_than_can_be_planned_are_refused() -> None:
    assert SelectionSettings().num_parts(100_000_000, 100_000) == 1250
    with pytest.raises(UserError, match=r"num_samples is 1000000000, .*increase .* part_size"):
        SelectionSettings().num_parts(10**9, 10_000)


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

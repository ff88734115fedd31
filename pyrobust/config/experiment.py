"""Settings of a whole experiment, as `config/config.yaml` states them."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from pyrobust.config.analysis import AnalysisSettings
from pyrobust.config.base import Settings, parse_settings
from pyrobust.config.data import DatasetSettings, SelectionSettings
from pyrobust.config.evaluation import EvaluationSettings, check_curve
from pyrobust.config.fields import (
    Architecture,
    Epsilon,
    Name,
    NonNegativeInt,
    Norm,
    PositiveInt,
    Share,
)
from pyrobust.config.generators import GeneratorSettings
from pyrobust.config.targets import MixtureSettings, TargetSettings
from pyrobust.config.training import LabellerSettings, TrainSettings
from pyrobust.errors import UserError


class ExperimentSettings(Settings):
    """One robust classifier and all that it stands on; its key names results/<key>.json."""

    dataset: Name
    """A key of `datasets`."""

    norm: Norm
    epsilon: Epsilon

    architecture: Architecture = "wrn-28-10"
    recipe: Literal["gowal21", "wang23"] = "gowal21"

    mixing_factor: Share = 0.3
    """Alpha of Eq. 3: the share of original images in each batch; 1 uses no generated image."""

    generator: Name = "gaussian"
    """A key of `generators`."""

    num_samples: PositiveInt = 1_000_000
    """Generated images that are kept after selection."""

    selection: Name = "until_full"
    """A key of `selections`."""

    labeller: Name = "wrn-28-10"
    """A key of `labellers`."""

    training: dict[str, Any] = Field(default_factory=dict)
    """Settings of `pyrobust train` that differ from the recipe."""

    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] = (0, 1)
    """One training run each; the best by validation is the result (appendix A)."""

    evaluation: Name = "aa_mt"
    """A key of `evaluations`."""

    test_runs: Literal["chosen", "all"] = "chosen"
    """Whether only the chosen run meets the test split, or all runs do (their spread is then in
    the record; the choice is by validation either way)."""

    analysis: Name = "labeller"
    """A key of `analyses`."""

    baseline: Name | None = None
    """Another experiment that the record compares with, image by image."""


class Config(Settings):
    """The whole of `config/config.yaml`."""

    data_root: str = "resources/raw"
    """Folder that holds one folder of raw files a data set."""

    evaluation_jobs: PositiveInt = 1
    """Jobs that attack a trained model side by side, each a share of the test images, before one
    more puts the result together; it is the same for any number."""

    compared: tuple[Name, ...] = ()
    """Experiments that results/report.html compares."""

    datasets: dict[Name, DatasetSettings]
    labellers: dict[Name, LabellerSettings]
    generators: dict[Name, GeneratorSettings]
    selections: dict[Name, SelectionSettings]
    evaluations: dict[Name, EvaluationSettings]
    analyses: dict[Name, AnalysisSettings]
    experiments: Annotated[dict[Name, ExperimentSettings], Field(min_length=1)]
    mixtures: dict[Name, MixtureSettings] = Field(default_factory=dict)
    targets: dict[Name, TargetSettings] = Field(default_factory=dict)


_SHARED_WITH_TRAINING = ("architecture", "recipe", "norm", "epsilon", "mixing_factor")


def own_training_keys() -> tuple[str, ...]:
    """Return the keys that `training` may set: those that the experiment does not."""
    taken = (*_SHARED_WITH_TRAINING, "seed")
    return tuple(key for key in TrainSettings.model_fields if key not in taken)


def check_config(values: Mapping[str, Any]) -> None:
    """Check a whole configuration, references between its sections included.

    Raises:
        UserError: names the experiment, the key, its value and what was expected.
    """
    config = parse_settings(Config, values)
    for name, experiment in config.experiments.items():
        sections: dict[str, Mapping[str, Any]] = {
            "dataset": config.datasets,
            "generator": config.generators,
            "selection": config.selections,
            "labeller": config.labellers,
            "evaluation": config.evaluations,
            "analysis": config.analyses,
            "baseline": config.experiments,
        }
        for key, section in sections.items():
            value = getattr(experiment, key)
            if value is not None and value not in section:
                raise UserError(
                    f"experiments.{name}.{key} is '{value}', expected one of {', '.join(section)}"
                )
        try:
            check_training(experiment)
            check_curve(config.evaluations[experiment.evaluation], experiment.norm)
        except (UserError, ValueError) as error:
            raise UserError(f"experiments.{name}: {error}") from error
    for name in config.compared:
        if name not in config.experiments:
            raise UserError(
                f"compared names '{name}', expected keys of experiments: "
                f"{', '.join(config.experiments)}"
            )
    clash = set(config.generators) & set(config.mixtures)
    if clash:
        raise UserError(f"'{min(clash)}' is a key of generators and of mixtures: rename one")


def check_training(experiment: ExperimentSettings) -> TrainSettings:
    """Return the settings of `pyrobust train` that an experiment amounts to, without a seed's.

    Raises:
        UserError: a value does not fit.
    """
    shared = {key: getattr(experiment, key) for key in _SHARED_WITH_TRAINING}
    return parse_settings(TrainSettings, {**shared, **experiment.training})

"""Settings of a whole experiment, as `config/config.yaml` states them."""

from typing import Annotated, Any, Literal

from pydantic import Field

from pyrobust.config.base import Settings
from pyrobust.config.data import DatasetSettings, GeneratorSettings, SelectionSettings
from pyrobust.config.evaluation import AnalysisSettings, EvaluationSettings
from pyrobust.config.fields import (
    Architecture,
    Epsilon,
    Name,
    NonNegativeInt,
    Norm,
    PositiveInt,
    Share,
)
from pyrobust.config.training import LabellerSettings, TrainSettings


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

    training: dict[str, Any] = {}
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

    datasets: dict[Name, DatasetSettings]
    labellers: dict[Name, LabellerSettings]
    generators: dict[Name, GeneratorSettings]
    selections: dict[Name, SelectionSettings]
    evaluations: dict[Name, EvaluationSettings]
    analyses: dict[Name, AnalysisSettings]
    experiments: Annotated[dict[Name, ExperimentSettings], Field(min_length=1)]


def training_settings_of(experiment: ExperimentSettings, seed: int) -> dict[str, Any]:
    """Return what `pyrobust train` is given for one run of `experiment`."""
    shared = ("architecture", "recipe", "norm", "epsilon", "mixing_factor")
    return {
        **{key: getattr(experiment, key) for key in shared},
        **experiment.training,
        "seed": seed,
    }


__all__ = ["Config", "ExperimentSettings", "TrainSettings", "training_settings_of"]

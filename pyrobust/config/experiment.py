"""Settings of a whole experiment, as `config/config.yaml` states them."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

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
    parse_epsilon,
)
from pyrobust.config.generators import GeneratorSettings
from pyrobust.config.targets import MixtureSettings, TargetSettings
from pyrobust.config.training import LabellerSettings, TrainSettings
from pyrobust.errors import UserError


def _all_different(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("expected seeds that differ, since a seed gives the same run again")
    return seeds


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

    seeds: Annotated[
        tuple[NonNegativeInt, ...], Field(min_length=1), AfterValidator(_all_different)
    ] = (0, 1)
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

    evaluation_jobs: Annotated[int, Field(ge=1, le=1000)] = 1
    """Jobs that attack a trained model side by side, each a share of the test images, before one
    more puts the result together; it is the same for any number."""

    search_memory_gb: Annotated[int, Field(ge=1, le=1000)] = 2
    """GB of memory that the search for neighbours may take (`pyrobust neighbours --memory-gb`). A
    changed value makes nothing anew: an exact search finds the same with any."""

    compared: tuple[Name, ...] = ()
    """Experiments that results/report.html compares."""

    features_while_labelling: dict[Name, Name] = Field(default={})
    """Generator → analysis whose features its samples get while they are labelled, such as `{ddpm:
    labeller}`: each image is read once, which pays for an analysis of most of them (`num_images`).
    No result changes."""

    datasets: dict[Name, DatasetSettings]
    labellers: dict[Name, LabellerSettings]
    generators: dict[Name, GeneratorSettings]
    selections: dict[Name, SelectionSettings]
    evaluations: dict[Name, EvaluationSettings]
    analyses: dict[Name, AnalysisSettings]
    experiments: Annotated[dict[Name, ExperimentSettings], Field(min_length=1)]
    mixtures: dict[Name, MixtureSettings] = Field(default_factory=dict)
    targets: dict[Name, TargetSettings] = Field(default_factory=dict)


# results/<experiment>.html and the page that compares experiments must not be one file.
_PAGE_OF_ALL = "report"

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
            _check_baseline(name, experiment, config)
        except (UserError, ValueError) as error:
            raise UserError(f"experiments.{name}: {error}") from error
    if _PAGE_OF_ALL in config.experiments:
        raise UserError(
            f"experiments.{_PAGE_OF_ALL} would write results/{_PAGE_OF_ALL}.html, the page that "
            "compares experiments: rename it"
        )
    for name in config.compared:
        if name not in config.experiments:
            raise UserError(
                f"compared names '{name}', expected keys of experiments: "
                f"{', '.join(config.experiments)}"
            )
    for generator, analysis in config.features_while_labelling.items():
        if generator not in config.generators or analysis not in config.analyses:
            raise UserError(
                f"features_while_labelling has '{generator}: {analysis}', expected a key of "
                f"generators ({', '.join(config.generators)}) and one of analyses "
                f"({', '.join(config.analyses)})"
            )
    clash = set(config.generators) & set(config.mixtures)
    if clash:
        raise UserError(f"'{min(clash)}' is a key of generators and of mixtures: rename one")


def _check_baseline(name: str, experiment: ExperimentSettings, config: Config) -> None:
    """Refuse a baseline whose images or perturbations are others, before anything is trained.

    Raises:
        UserError: names the setting in which the two differ.
    """
    if experiment.baseline is None:
        return
    if experiment.baseline == name:
        raise UserError("baseline is the experiment itself, expected another one")
    baseline = config.experiments[experiment.baseline]
    for key, mine, theirs in (
        ("dataset", experiment.dataset, baseline.dataset),
        ("norm", experiment.norm, baseline.norm),
        ("epsilon", parse_epsilon(experiment.epsilon), parse_epsilon(baseline.epsilon)),
        (
            "num_images of the evaluation",
            config.evaluations[experiment.evaluation].num_images,
            config.evaluations[baseline.evaluation].num_images,
        ),
    ):
        if mine != theirs:
            raise UserError(
                f"baseline is '{experiment.baseline}', whose {key} is {theirs} and not {mine}: "
                "expected an experiment with the same images and perturbations"
            )


def check_training(experiment: ExperimentSettings) -> TrainSettings:
    """Return the settings of `pyrobust train` that an experiment amounts to, without a seed's.

    Raises:
        UserError: a value does not fit, or is one that the experiment has itself.
    """
    for key in experiment.training:
        if key in TrainSettings.model_fields and key not in own_training_keys():
            own = "seeds" if key == "seed" else key
            raise UserError(f"training.{key} is set, expected {own} of the experiment instead")
    shared = {key: getattr(experiment, key) for key in _SHARED_WITH_TRAINING}
    return parse_settings(TrainSettings, {**shared, **experiment.training})

"""Settings of experiments and of the whole configuration file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field

from pyrobust.config.analysis import SEARCH_MEMORY_GB, AnalysisSettings, SearchMemory
from pyrobust.config.base import Settings, parse_settings
from pyrobust.config.data import DatasetSettings, SelectionSettings
from pyrobust.config.evaluation import EvaluationSettings, check_evaluation
from pyrobust.config.fields import (
    Architecture,
    Epsilon,
    Name,
    NonNegativeInt,
    PositiveInt,
    Share,
    TrainingNorm,
)
from pyrobust.config.generators import GeneratorSettings
from pyrobust.config.radius import parse_epsilon
from pyrobust.config.targets import MixtureSettings, TargetSettings
from pyrobust.config.training import LabellerSettings, TrainSettings
from pyrobust.config.yaml_files import read_yaml
from pyrobust.errors import UserError


def _all_different(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("seeds must be distinct; equal seeds repeat the same run")
    return seeds


class ExperimentSettings(Settings):
    """One robust classifier and everything it depends on; its key names results/<key>.json."""

    dataset: Name
    """Data set: a key of `datasets`."""

    norm: TrainingNorm
    """Norm of the perturbation set, in training and evaluation."""

    epsilon: Epsilon

    architecture: Architecture = "wrn-28-10"
    recipe: Literal["gowal21", "authors", "wang23"] = "gowal21"
    """Training recipe: gowal21 (Gowal et al. 2021, the paper), authors (as their code ran on its
    machines) or wang23 (Wang et al. 2023). docs/training.md compares them."""

    mixing_factor: Share = 0.3
    """Fraction of original images in each batch (alpha in Eq. 3); 1 trains without generated
    images."""

    generator: Name = "gaussian"
    """Generative model: a key of `generators`."""

    num_samples: PositiveInt = 1_000_000
    """Number of generated images kept by the selection."""

    selection: Name = "until_full"
    """Selection protocol: a key of `selections`."""

    labeller: Name = "wrn-28-10"
    """Classifier that labels the generated images: a key of `labellers`."""

    training: dict[str, Any] = Field(default_factory=dict)
    """Training settings that differ from the recipe."""

    seeds: Annotated[
        tuple[NonNegativeInt, ...], Field(min_length=1), AfterValidator(_all_different)
    ] = (0, 1)
    """One training run per seed; the run with the best validation result is evaluated (appendix
    A)."""

    evaluation: Name = "aa_mt"
    """Attack: a key of `evaluations`."""

    test_runs: Literal["chosen", "all"] = "chosen"
    """Evaluate only the chosen run on the test split, or all runs. With all, the record includes
    their spread; the choice depends on the validation split either way."""

    analysis: Name = "labeller"
    """Comparison of generated and original images: a key of `analyses`."""

    baseline: Name | None = None
    """Another experiment to compare with, which differs in generated data for example. The record
    states the effect over all runs (at least three seeds each, with `test_runs: all`) and compares
    the two chosen models image by image."""

    @property
    def uses_generated(self) -> bool:
        """Whether training uses any generated image."""
        return self.mixing_factor < 1


class Config(Settings):
    """The contents of `config/config.yaml` and `config/targets.yaml`."""

    data_root: str = "resources/raw"
    """Folder that contains one folder of raw files per data set."""

    evaluation_jobs: Annotated[int, Field(ge=1, le=1000)] = 1
    """Number of parallel jobs that share the test images of a new evaluation. It does not change
    the results and triggers no rerun."""

    search_jobs: Annotated[int, Field(ge=1, le=1000)] = 1
    """Number of parallel jobs that share a new nearest-neighbour search with `whole_sets`. It does
    not change the results and triggers no rerun."""

    search_memory_gb: SearchMemory = SEARCH_MEMORY_GB
    """Memory for nearest-neighbour searches, in GB (`--search-memory-gb` of `neighbours`,
    `distances` and `select`). It does not change exact results and triggers no rerun."""

    container: Annotated[str, Field(min_length=1)] | None = None
    """Image in which the jobs run with `--software-deployment-method apptainer`: a file such as
    `pyrobust.sif`, or an address such as `docker://HOST/pyrobust:TAG` (docs/cluster.md). The
    project publishes no image."""

    compared: tuple[Name, ...] = ()
    """Experiments that results/report.html compares."""

    features_while_labelling: dict[Name, Name] = Field(default={})
    """Generators whose samples get features during labelling, each with the analysis that uses
    them, such as `{ddpm: labeller}`. Each image is then read only once, which pays off if the
    analysis uses most of them (`num_images`). It does not change the results."""

    datasets: dict[Name, DatasetSettings]
    labellers: dict[Name, LabellerSettings]
    generators: dict[Name, GeneratorSettings]
    selections: dict[Name, SelectionSettings]
    evaluations: dict[Name, EvaluationSettings]
    analyses: dict[Name, AnalysisSettings]
    experiments: Annotated[dict[Name, ExperimentSettings], Field(min_length=1)]
    mixtures: dict[Name, MixtureSettings] = Field(default_factory=dict)
    targets: dict[Name, TargetSettings] = Field(default_factory=dict)


# Keys of an experiment that name an entry of a section, and that section.
SECTIONS = {
    "dataset": "datasets",
    "generator": "generators",
    "selection": "selections",
    "labeller": "labellers",
    "evaluation": "evaluations",
    "analysis": "analyses",
}

# Those whose settings a report takes from the configuration; a data set describes itself.
REPORTED_SECTIONS = tuple(key for key in SECTIONS if key != "dataset")


def entry_model(key: str) -> type[Settings]:
    """Return the settings of the entries that `key` of an experiment names."""
    _, model = get_args(Config.model_fields[SECTIONS[key]].annotation)
    return model  # type: ignore[no-any-return]


# results/<experiment>.html and the page that compares experiments must not be one file.
_PAGE_OF_ALL = "report"

_SHARED_WITH_TRAINING = ("architecture", "recipe", "norm", "epsilon", "mixing_factor")


def own_training_keys() -> tuple[str, ...]:
    """Return the keys that `training` may set: those that the experiment does not."""
    taken = (*_SHARED_WITH_TRAINING, "seed")
    return tuple(key for key in TrainSettings.model_fields if key not in taken)


def read_config(paths: Sequence[Path]) -> Config:
    """Return the configuration of YAML files, each laid over those before it, as Snakemake does.

    Raises:
        UserError: a file cannot be read, or the configuration is wrong.
    """
    values: dict[str, Any] = {}
    for path in paths:
        values = _laid_over(values, read_yaml(path))
    return parse_config(values)


def _laid_over(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with `changes` in their place, key by key down through mappings."""
    merged = dict(values)
    for key, change in changes.items():
        known = merged.get(key)
        if isinstance(known, dict) and isinstance(change, dict):
            change = _laid_over(known, change)
        merged[key] = change
    return merged


def parse_config(values: Mapping[str, Any]) -> Config:
    """Check a whole configuration, references between its sections included, and return it.

    Raises:
        UserError: names the experiment, the key, its value and what was expected.
    """
    config = parse_settings(Config, values)
    for name, experiment in config.experiments.items():
        for key, section in {**SECTIONS, "baseline": "experiments"}.items():
            value, known = getattr(experiment, key), getattr(config, section)
            if value is not None and value not in known:
                raise UserError(
                    f"experiments.{name}.{key}: unknown name '{value}'; "
                    f"choose one of: {', '.join(known)}"
                )
        try:
            check_training(experiment)
            evaluation = config.evaluations[experiment.evaluation]
            check_compared(experiment.evaluation, evaluation, experiment.norm)
            _check_baseline(name, experiment, config)
        except (UserError, ValueError) as error:
            raise UserError(f"experiments.{name}: {error}") from error
    if _PAGE_OF_ALL in config.experiments:
        raise UserError(
            f"experiments.{_PAGE_OF_ALL}: rename it, since results/{_PAGE_OF_ALL}.html is the page "
            "that compares experiments"
        )
    for name in config.compared:
        if name not in config.experiments:
            raise UserError(
                f"compared: unknown experiment '{name}'; choose from: "
                f"{', '.join(config.experiments)}"
            )
    for generator, analysis in config.features_while_labelling.items():
        if generator not in config.generators or analysis not in config.analyses:
            raise UserError(
                f"features_while_labelling: invalid entry '{generator}: {analysis}'; expected a "
                f"key of generators ({', '.join(config.generators)}) and a key of analyses "
                f"({', '.join(config.analyses)})"
            )
    clash = set(config.generators) & set(config.mixtures)
    if clash:
        raise UserError(f"'{min(clash)}' names both a generator and a mixture; rename one of them")
    return config


def _check_baseline(name: str, experiment: ExperimentSettings, config: Config) -> None:
    """Require a baseline that was measured in the same way.

    Raises:
        UserError: names the setting in which the two differ.
    """
    if experiment.baseline is None:
        return
    if experiment.baseline == name:
        raise UserError("baseline is the experiment itself; choose another experiment")
    baseline = config.experiments[experiment.baseline]
    check_comparable(
        (name, experiment, config.evaluations[experiment.evaluation]),
        (experiment.baseline, baseline, config.evaluations[baseline.evaluation]),
    )


# Settings of an evaluation that change no outcome of AA+MT.
NOT_OF_THE_ATTACK = frozenset({"autoattack", "curve", "batch_size"})

Compared = tuple[str, ExperimentSettings, EvaluationSettings]


def check_comparable(first: Compared, second: Compared) -> None:
    """Require that two experiments were measured in the same way.

    Both need the same test images and perturbation set, the same AA+MT, as many training runs,
    and the same `test_runs`. One may also run AutoAttack; the two are then compared by AA+MT.

    Args:
        first: name and settings of an experiment, and those of its evaluation.
        second: the same of its baseline.

    Raises:
        UserError: names the setting in which the two differ.
    """
    (name, mine, attack), (other, theirs, their_attack) = first, second
    values = [
        ("dataset", mine.dataset, theirs.dataset),
        ("norm", mine.norm, theirs.norm),
        ("epsilon", parse_epsilon(mine.epsilon), parse_epsilon(theirs.epsilon)),
        ("number of seeds", len(mine.seeds), len(theirs.seeds)),
        ("test_runs", mine.test_runs, theirs.test_runs),
    ]
    values += [
        (f"{key} of the evaluation", getattr(attack, key), getattr(their_attack, key))
        for key in EvaluationSettings.model_fields
        if key not in NOT_OF_THE_ATTACK
    ]
    for key, ours, other_value in values:
        if ours != other_value:
            raise UserError(
                f"cannot compare '{name}' with baseline '{other}': its {key} is {other_value} "
                f"instead of {ours}; both need the same images, perturbation set, attack, number "
                "of seeds and test_runs"
            )


def check_compared(name: str, evaluation: EvaluationSettings, norm: str) -> None:
    """Refuse an evaluation that experiments cannot be compared by.

    Raises:
        UserError: its attack is not AA+MT, or its radii do not fit the norm.
    """
    if evaluation.attack != "aa_mt":
        raise UserError(
            f"evaluation '{name}' has attack '{evaluation.attack}', but experiments are compared "
            "under aa_mt; set autoattack: true to add AutoAttack"
        )
    check_evaluation(evaluation, norm)


def check_training(experiment: ExperimentSettings) -> TrainSettings:
    """Return the training settings of an experiment, except for the seed.

    Raises:
        UserError: a value is invalid, or belongs to the experiment itself.
    """
    for key in experiment.training:
        if key in TrainSettings.model_fields and key not in own_training_keys():
            own = "seeds" if key == "seed" else key
            raise UserError(f"training.{key} is not allowed; set {own} of the experiment instead")
    shared = {key: getattr(experiment, key) for key in _SHARED_WITH_TRAINING}
    return parse_settings(TrainSettings, {**shared, **experiment.training})

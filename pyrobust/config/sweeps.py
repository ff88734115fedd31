"""Sweeps: tables of points, each an experiment of the configuration with some settings changed.

A sweep is a table of tab-separated values. Its column `experiment` names the experiment that a
point starts from, the other columns are settings (`generator`, `training.epochs`, ...) or belong
to the point (POINT_COLUMNS); an empty cell leaves the setting unchanged. Two points with equal
settings are one experiment, even in different tables, so nothing is trained twice.
"""

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pyrobust.config.base import parse_settings
from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.config.experiment import (
    SECTIONS,
    ExperimentSettings,
    check_compared,
    check_training,
    own_training_keys,
)
from pyrobust.config.radius import parse_epsilon
from pyrobust.config.sweep_rows import grid_rows, read_sweep
from pyrobust.config.targets import TargetSettings
from pyrobust.errors import UserError

POINT_COLUMNS = {
    "name": "name of the point in the result",
    "augmentation": "a key of pyrobust.analysis.augmentations: augmented training images in place "
    "of generated ones, and no training",
    "evaluation": "a key of `evaluations`; by default that of the experiment",
    "analysis": "a key of `analyses`, for complementarity and coverage",
    "quality_analysis": "a key of `analyses`, for FID and Inception score",
    "tested_on": "a key of `generators`, whose unseen samples are attacked in place of test images",
    "test_selection": "a key of `selections`, for tested_on; it skips the training samples",
    "test_samples": "number of samples, for tested_on",
}

# Experiments that differ only in these have the same models.
_NOT_OF_THE_MODELS = ("baseline", "analysis", "evaluation", "test_runs")
# Without effect if no generated image is used.
_OF_GENERATED = ("generator", "num_samples", "selection")
_SECTIONS = {
    "dataset": (SECTIONS["dataset"],),
    "generator": (SECTIONS["generator"], "mixtures"),
    "selection": (SECTIONS["selection"],),
    "labeller": (SECTIONS["labeller"],),
}
_POINT_SECTIONS = {
    "evaluation": "evaluations",
    "analysis": "analyses",
    "quality_analysis": "analyses",
    "tested_on": "generators",
    "test_selection": "selections",
}

# Measured, so no table contains it.
_MEASURED = "labeller_accuracy"

_OF_TRAINING = "training."

# Settings of an experiment, and of its training, as columns.
SETTING_COLUMNS = (
    *ExperimentSettings.model_fields,
    *(_OF_TRAINING + key for key in own_training_keys()),
)

Json = dict[str, Any]


class Sweeps(NamedTuple):
    """All targets of a configuration, resolved."""

    experiments: dict[str, Json]
    """Experiments of points that the configuration does not define itself, by name."""

    points: dict[str, list[Json]]
    """By target: `experiment` (its name), `settings` (of the experiment), POINT_COLUMNS, and
    `mixture_share` and `mixture_classes` where the generator is a mixture; without one,
    `mixture_share` is that of samples of the generator that is tested on, all or none."""

    refused: dict[str, str]
    """Targets with an invalid table, each with one sentence why; the others can be made."""


def resolve_targets(config: Mapping[str, Any], folder: Path) -> Sweeps:
    """Read the tables of all targets.

    Args:
        config: a whole, valid configuration with its defaults filled in.
        folder: holds <sweep>.tsv.
    """
    experiments = dict(config["experiments"])
    points: dict[str, list[Json]] = {}
    refused: dict[str, str] = {}
    for target, values in config["targets"].items():
        path: Path | str = folder / f"{values.get('sweep') or target}.tsv"
        try:
            settings = parse_settings(TargetSettings, values)
            if settings.grid:
                path = f"the grid of {target}"
                rows = grid_rows(target, settings)
                unit = "point"
            else:
                rows = read_sweep(Path(path))
                unit = "line"
            points[target] = [
                _point(row, f"{path}, {unit} {number}", config, experiments) for number, row in rows
            ]
            _check_columns(settings, points[target], path)
        except UserError as error:
            points.pop(target, None)
            refused[target] = str(error)
    added = {
        name: values for name, values in experiments.items() if name not in config["experiments"]
    }
    return Sweeps(added, points, refused)


def _point(
    row: dict[str, str], place: str, config: Mapping[str, Any], experiments: dict[str, Json]
) -> Json:
    """Return one point; its experiment joins `experiments`."""
    base = row.get("experiment", "")
    if base not in config["experiments"]:
        raise UserError(
            f"{place}: unknown experiment '{base}'; use a key of experiments in config/config.yaml"
        )
    try:
        settings = _settings({**config["experiments"][base]}, row)
    except UserError as error:
        raise UserError(f"{place}: {error}") from error
    _check_references(settings, row, place, config)
    name = _name(base, config["experiments"][base], settings, experiments)
    experiments.setdefault(name, settings)
    own: Json = {key: row.get(key) or None for key in POINT_COLUMNS}
    for key in ("evaluation", "analysis"):
        own[key] = own[key] or settings[key]
    own["quality_analysis"] = own["quality_analysis"] or own["analysis"]
    mixture = config["mixtures"].get(settings["generator"], {})
    own |= {f"mixture_{key}": mixture.get(key) for key in ("share", "classes")}
    if own["tested_on"] and not mixture:
        own["mixture_share"] = float(settings["generator"] == own["tested_on"])
    return {"experiment": name, "settings": settings, **own}


def _settings(base: Json, row: Mapping[str, str]) -> Json:
    """Return the settings of `base` with the cells of `row` in their place."""
    values: Json = {**base, "training": dict(base["training"]), "baseline": None}
    for key, cell in row.items():
        if not cell or key == "experiment" or key in POINT_COLUMNS:
            continue
        if key.startswith(_OF_TRAINING):
            values["training"][key.removeprefix(_OF_TRAINING)] = cell
        elif key == "seeds":
            values["seeds"] = cell.split(",")
        else:
            values[key] = cell
    settings = parse_settings(ExperimentSettings, values)
    if settings.mixing_factor == 1:
        settings = settings.model_copy(update={key: base[key] for key in _OF_GENERATED})
    training, of_base = (
        check_training(experiment).model_dump(mode="json")
        for experiment in (settings, parse_settings(ExperimentSettings, base))
    )
    # A value that the recipe sets anyway does not make another experiment.
    stated = [key for key in training if key in settings.training]
    return {
        **settings.model_dump(mode="json"),
        "training": {
            key: training[key]
            for key in stated
            if key in base["training"] or training[key] != of_base[key]
        },
    }


def _check_references(
    settings: Json, row: Mapping[str, str], place: str, config: Mapping[str, Any]
) -> None:
    wanted = [(key, settings[key], sections) for key, sections in _SECTIONS.items()]
    wanted += [(key, row.get(key) or None, (name,)) for key, name in _POINT_SECTIONS.items()]
    for key, value, sections in wanted:
        if value is not None and not any(value in config[section] for section in sections):
            raise UserError(
                f"{place}: unknown {key} '{value}'; use a key of {' or '.join(sections)} in "
                f"config/ ({', '.join(config[sections[0]])})"
            )
    mixture = config["mixtures"].get(settings["generator"], {})
    for key in ("first", "second"):
        if mixture and mixture[key] not in config["generators"]:
            raise UserError(
                f"{place}: mixture '{settings['generator']}' has the unknown generator "
                f"'{mixture[key]}' ({key}); use a key of generators in config/ "
                f"({', '.join(config['generators'])})"
            )
    named = row.get("evaluation") or settings["evaluation"]
    evaluation = parse_settings(EvaluationSettings, config["evaluations"][named])
    try:
        check_compared(named, evaluation, settings["norm"])
    except UserError as error:
        raise UserError(f"{place}: {error}") from error
    second = mixture.get("second_selection")
    if second is not None and second not in config["selections"]:
        raise UserError(
            f"{place}: mixture '{settings['generator']}' has the unknown second_selection "
            f"'{second}'; use a key of selections in config/ ({', '.join(config['selections'])})"
        )
    if row.get("tested_on") and not (row.get("test_selection") and row.get("test_samples")):
        raise UserError(f"{place}: tested_on requires test_selection and test_samples")
    count = row.get("test_samples") or "1"
    if not re.fullmatch("[1-9][0-9]*", count):
        raise UserError(f"{place}: test_samples is '{count}'; expected a positive integer")


def _name(base: str, given: Json, settings: Json, experiments: Mapping[str, Json]) -> str:
    """Return the name of an existing experiment with these settings, or a new descriptive name."""
    for name, other in experiments.items():
        if _of_the_models(other) == _of_the_models(settings):
            return name
    changed = []
    for key, value in settings.items():
        if key == "training":
            of_base = given["training"]
            changed += [f"{k}-{_text(v)}" for k, v in value.items() if of_base.get(k) != v]
        elif key not in _NOT_OF_THE_MODELS and value != given[key]:
            # The name of a section is self-explanatory.
            changed.append(value if key in _SECTIONS else f"{key}-{_text(value)}")
    words = [re.sub(r"[^a-z0-9_]+", "-", word.lower()).strip("-_") for word in changed]
    name = re.sub(r"[-_]*-[-_]*", "-", "-".join([base, *words]))
    while name in experiments:  # two values that are written alike
        name += "-x"
    return name


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _of_the_models(settings: Json) -> Json:
    """Return the settings that decide which models an experiment trains."""
    ignored = {*_NOT_OF_THE_MODELS, *(_OF_GENERATED if settings["mixing_factor"] == 1 else ())}
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in settings.items()
        if key not in ignored
    }


def _check_columns(settings: TargetSettings, points: Iterable[Json], path: Path | str) -> None:
    if settings.show == "curves":
        known = {_MEASURED, *POINT_COLUMNS, *SETTING_COLUMNS, "mixture_share", "mixture_classes"}
        for column in (settings.x, *settings.series):
            if column not in known:
                raise UserError(
                    f"{path} has no column '{column}'; choose one of: {', '.join(sorted(known))}"
                )
    for point in points:
        if settings.show == "curves" and settings.x != _MEASURED:
            _check_x(settings.x, point, path)
        if settings.show != "neighbours" and point["augmentation"]:
            raise UserError(
                f"{path}: augmentation '{point['augmentation']}' requires a target with 'show: "
                f"neighbours', but this one has 'show: {settings.show}'"
            )


def _check_x(column: str, point: Json, path: Path | str) -> None:
    value = value_of(point["settings"], point, column)
    try:
        as_number(value)
    except ValueError as error:
        raise UserError(
            f"{path}: the x axis is {column}, but it is {value!r} at the point "
            f"'{point['name'] or point['experiment']}'; it must be a number at every point"
        ) from error


def value_of(settings: Mapping[str, Any], own: Mapping[str, Any], column: str) -> Any:
    """Return the value of a column at a point; None if the point has no such column.

    Args:
        settings: those of its experiment.
        own: columns of the point itself.
        column: a key of either, or training.KEY, by default the recipe's value.
    """
    if column.startswith(_OF_TRAINING):
        training = check_training(parse_settings(ExperimentSettings, settings))
        return getattr(training, column.removeprefix(_OF_TRAINING))
    return {**settings, **own}.get(column)


def as_number(value: Any) -> float:
    """Return the number in a column, such as 0.3, "1000" or "8/255".

    Raises:
        ValueError: the value is not a finite number.
    """
    try:
        found = parse_epsilon(str(value))
    except ZeroDivisionError as error:
        raise ValueError(f"{value} is not a number") from error
    if not math.isfinite(found):
        raise ValueError(f"{value} is not finite")
    return found

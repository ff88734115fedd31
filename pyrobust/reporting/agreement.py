"""Whether the stages were made with the settings that the experiment states."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyrobust.config import parse_settings
from pyrobust.config.training import TrainSettings
from pyrobust.errors import UserError
from pyrobust.reporting.experiment import Experiment
from pyrobust.reporting.stages import Evaluation, Stages

_OF_TRAINING = ("architecture", "recipe", "norm", "epsilon", "mixing_factor")
_OF_THREAT = ("norm", "epsilon")


def check_agreement(experiment: Experiment, stages: Stages) -> None:
    """Refuse stages that other settings made: a record must not mix two experiments.

    Raises:
        UserError: names the folder, the setting and both values.
    """
    stated = experiment.as_json()
    given = {**_some(stated, _OF_TRAINING), **experiment.settings.training}
    training = parse_settings(TrainSettings, given).model_dump(mode="json", exclude={"seed"})
    folders = dict(zip(stages.runs, stages.folders.runs, strict=True))
    for seed, run in stages.runs.items():
        _check(folders[seed], run["settings"], training, "pyrobust train")
    for evaluation in (*stages.evaluations.values(), stages.labeller_evaluation):
        _check_evaluation(evaluation, experiment)
    _check(
        stages.folders.landscape,
        stages.landscape,
        _some(stated, _OF_THREAT),
        "pyrobust landscape",
    )


def _check_evaluation(evaluation: Evaluation, experiment: Experiment) -> None:
    threat = _some(experiment.as_json(), _OF_THREAT)
    folder, summary = evaluation.folder, evaluation.summary
    _check(folder, summary, threat, "pyrobust evaluate")
    _check(folder, summary["settings"], experiment.sections["evaluation"], "pyrobust evaluate")


def _some(settings: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: settings[key] for key in keys}


def _check(folder: Path, found: Mapping[str, Any], stated: Mapping[str, Any], verb: str) -> None:
    for key, value in stated.items():
        if found.get(key) != value:
            raise UserError(
                f"{folder} was made with {key} {found.get(key)}, but the experiment has {value}: "
                f"run '{verb}' again"
            )

"""The record of an experiment: everything that was measured, and nothing of where or when."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pyrobust.config import parse_settings
from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.config.training import LATER, TrainSettings
from pyrobust.errors import UserError
from pyrobust.reporting.accuracies import cascade_of, interval_of, scores_of
from pyrobust.reporting.departures import (
    attack_departures,
    departures,
    training_departures,
)
from pyrobust.reporting.effects import arm_of, compare
from pyrobust.reporting.overfitting import overfitting_of
from pyrobust.reporting.published_results import PaperResult, result_of
from pyrobust.reporting.stage_results import Evaluation, Experiment, Stages
from pyrobust.reporting.wording import generator_kind

_OF_TRAINING = ("architecture", "recipe", "norm", "epsilon", "mixing_factor")
_OF_THREAT = ("norm", "epsilon")


def check_agreement(experiment: Experiment, stages: Stages, baseline: Experiment | None) -> None:
    """Refuse stages that other settings made: a record must not mix two experiments.

    Raises:
        UserError: names the folder, the setting and both values.
    """
    stated = experiment.as_json()
    given = {**_some(stated, _OF_TRAINING), **experiment.settings.training}
    training = parse_settings(TrainSettings, given).model_dump(mode="json", exclude={"seed"})
    seeds = experiment.settings.seeds
    if set(stages.runs) != set(seeds):
        raise UserError(
            f"the runs have the seeds {sorted(stages.runs)}, but the experiment has "
            f"{sorted(seeds)}: give the folder of each run"
        )
    for seed, run in stages.runs.items():
        _check(
            stages.run_folders[seed], LATER | run["settings"], LATER | training, "pyrobust train"
        )
    for evaluation in (*stages.tested.evaluations.values(), stages.labeller_evaluation):
        _check_evaluation(evaluation, experiment)
    if baseline and stages.baseline:
        for evaluation in stages.baseline.evaluations.values():
            _check_attack(evaluation, baseline)
    _check(
        stages.inputs.landscape.parent,
        stages.landscape,
        _some(stated, _OF_THREAT),
        "pyrobust landscape",
    )


def _check_evaluation(evaluation: Evaluation, experiment: Experiment) -> None:
    threat = _some(experiment.as_json(), _OF_THREAT)
    _check(evaluation.folder, evaluation.summary, threat, "pyrobust evaluate")
    _check_attack(evaluation, experiment)


def _check_attack(evaluation: Evaluation, experiment: Experiment) -> None:
    # Settings that an earlier version did not have had what is their default now.
    found, stated = (
        parse_settings(EvaluationSettings, settings).model_dump(mode="json")
        for settings in (evaluation.summary["settings"], experiment.sections["evaluation"])
    )
    _check(evaluation.folder, found, stated, "pyrobust evaluate")


def _some(settings: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: settings[key] for key in keys}


def _check(folder: Path, found: Mapping[str, Any], stated: Mapping[str, Any], verb: str) -> None:
    for key, value in stated.items():
        if found.get(key) != value:
            raise UserError(
                f"{folder} was made with {key} {found.get(key)}, but the experiment has {value}: "
                f"run '{verb}' again"
            )


# An attack that leaves the non-robust labeller more than this is weak, or its radius is small.
ATTACK_CHECK_LIMIT = 0.05


def build_record(
    experiment: Experiment, stages: Stages, baseline: Experiment | None
) -> dict[str, Any]:
    """Return the record: equal inputs give equal records.

    Raises:
        UserError: the stages disagree with the experiment, each other or the baseline.
    """
    check_agreement(experiment, stages, baseline)
    scores = scores_of(stages.tested.chosen.summary)
    training = dict(stages.runs[stages.tested.chosen_seed]["settings"])
    training.pop("seed")
    paper = _paper_result(experiment)
    num_test = stages.dataset["counts"]["test"]
    return {
        "experiment": experiment.name,
        "settings": experiment.as_json(),
        "training": training,
        "dataset": {
            **{key: stages.dataset[key] for key in ("name", "counts", "image_shape", "sources")},
            "layout": stages.dataset["settings"]["layout"],
        },
        **scores,
        "attack_departures": attack_departures(
            experiment.sections["evaluation"], scores["num_images"], num_test
        ),
        "training_departures": training_departures(
            training, experiment.settings.num_samples if experiment.uses_generated else 0
        ),
        "departures": departures(
            experiment, training, stages.labeller["test_accuracy"], stages.dataset["counts"]
        ),
        "chosen_seed": stages.tested.chosen_seed,
        "runs": [_run(stages, seed) for seed in sorted(stages.runs)],
        "spread": _spread(stages),
        "overfitting": overfitting_of([stages.runs[seed] for seed in sorted(stages.runs)]),
        "labeller": _labeller(stages),
        "generator": _generator(stages),
        "baseline": baseline
        and stages.baseline
        and compare(experiment, stages.tested, baseline, stages.baseline),
        "paper": paper and _beside_paper(paper, experiment, training, scores),
        "checks": stages.tested.chosen.summary["checks"],
        "trusted": stages.tested.is_trusted,
        "notes": stages.tested.chosen.summary["notes"],
    }


def _paper_result(experiment: Experiment) -> PaperResult | None:
    settings = experiment.settings
    uses_generated = experiment.uses_generated
    return result_of(
        settings.dataset,
        settings.norm,
        settings.epsilon,
        settings.architecture,
        generator_kind(experiment.as_json()["generator"]) if uses_generated else None,
        settings.num_samples if uses_generated else 0,
        settings.mixing_factor,
    )


def _beside_paper(
    paper: PaperResult, experiment: Experiment, training: Mapping[str, Any], scores: dict[str, Any]
) -> dict[str, Any]:
    """Return the paper's model, its accuracy to compare with ours, and how the two differ."""
    settings = experiment.settings
    own = (settings.mixing_factor, training["epochs"], settings.recipe)
    return {**asdict(paper), "beside": paper.beside(cascade_of([scores]), *own)}


def _run(stages: Stages, seed: int) -> dict[str, Any]:
    """Return one training run; its test scores only where it met the test split."""
    training = stages.runs[seed]
    evaluation = stages.tested.evaluations.get(seed)
    return {
        "seed": seed,
        "chosen": seed == stages.tested.chosen_seed,
        **{
            key: training[key]
            for key in ("steps", "best_step", "validation", "num_original", "num_generated")
        },
        "test": evaluation and scores_of(evaluation.summary),
    }


def _spread(stages: Stages) -> dict[str, Any] | None:
    """Return the spread over the runs, if all of several met the test split."""
    if len(stages.runs) < 2 or set(stages.runs) != set(stages.tested.evaluations):
        return None
    keys = {"clean_accuracy": "clean_accuracy", "robust_accuracy": "worst"}
    spread: dict[str, Any] = {"num_runs": len(stages.runs)}
    for name, key in keys.items():
        values = [stages.tested.evaluations[seed].summary[key] for seed in sorted(stages.runs)]
        spread[name] = {**arm_of(values), "min": min(values), "max": max(values)}
    return spread


def _labeller(stages: Stages) -> dict[str, Any]:
    """Return the labeller's accuracy, and what the attack leaves of it."""
    labeller, attacked = stages.labeller, stages.labeller_evaluation.summary
    scores = scores_of(attacked)
    passed = {check["name"]: check["passed"] for check in attacked["checks"]}
    if scores["robust_accuracy"] <= ATTACK_CHECK_LIMIT:
        case = "broken"
    elif passed.get("whole_range_breaks_all") and False not in passed.values():
        case = "small_radius"
    else:
        case = "weak_attack"
    return {
        "test_accuracy": labeller["test_accuracy"],
        "test_interval": interval_of(labeller["test_accuracy"], labeller["num_test_images"]),
        "validation_accuracy": labeller["validation_accuracy"],
        "num_test_images": labeller["num_test_images"],
        "attack_check": {
            **scores,
            "limit": ATTACK_CHECK_LIMIT,
            "case": case,
            "passed": case != "weak_attack",
        },
    }


def _generator(stages: Stages) -> dict[str, Any] | None:
    """Return where the generated images come from and how good they are."""
    if stages.generated is None:
        return None
    neighbours, selection = stages.generated.neighbours, stages.generated.selection
    return {
        "weights_sha256": stages.generated.generator["weights_sha256"],
        "selection": {key: selection[key] for key in ("sampled", "kept", "near_copies")},
        "quality": stages.generated.quality,
        "neighbours": {key: value for key, value in neighbours.items() if key != "per_class"},
    }

"""Comparison with a baseline: an effect over training runs, and one pair of models.

An effect of generated data is a statement about training runs: each arm has several runs that
differ only in their seed, each run counts with its accuracy on the test images, and Welch's
interval covers the randomness of training. It treats all runs as independent: runs of equal seed
in both arms share their initial weights; if that makes them rise and fall together, the interval is
too wide, not too narrow. The paired interval over images compares the two chosen models and holds
only for these two, since retraining would give other models.
"""

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrobust.config.experiment import check_comparable
from pyrobust.errors import UserError
from pyrobust.evaluation.intervals import mean_interval, paired_difference, welch_interval
from pyrobust.reporting.accuracies import (
    Cascade,
    cascade_of,
    read_rows,
    robust_accuracy,
    scores_of,
)
from pyrobust.reporting.stage_results import Arm, Experiment

Json = dict[str, Any]

# With fewer training runs on either side, nothing is claimed about what differs between them.
MIN_RUNS = 3


def compare(experiment: Experiment, arm: Arm, baseline: Experiment, other: Arm) -> Json:
    """Return the experiment minus its baseline: over all runs, and for the chosen pair.

    Both sides are compared by the same attack: by the lower of AA+MT and AutoAttack where every
    run of both has it, else by AA+MT.

    Raises:
        UserError: the two differ in perturbation set, attack, images, number of runs or
            `test_runs`, or some runs of both are the same; or a run that `test_runs` asks for was
            not evaluated.
    """
    differs_in = differences(experiment, baseline)
    shared = sorted(set(experiment.settings.seeds) & set(baseline.settings.seeds))
    if shared and not differs_in:
        raise UserError(
            f"'{experiment.name}' and its baseline '{baseline.name}' have equal settings and share "
            f"the seeds {shared}, so these runs are the same; change a setting or the seeds"
        )
    for side, runs in ((experiment, arm), (baseline, other)):
        _check_all_tested(side, runs)
    _check_threat(experiment, arm, baseline, other)
    evaluations = (*arm.evaluations.values(), *other.evaluations.values())
    cascade = cascade_of(evaluation.summary for evaluation in evaluations)
    ours, theirs = (
        {seed: read_rows(evaluation, cascade) for seed, evaluation in runs.evaluations.items()}
        for runs in (arm, other)
    )
    mine = ours[arm.chosen_seed]
    for rows in (*ours.values(), *theirs.values()):
        if not (np.array_equal(mine.image, rows.image) and np.array_equal(mine.label, rows.label)):
            raise UserError(
                f"baseline '{baseline.name}' was evaluated on other images than "
                f"'{experiment.name}'; give both the same dataset and evaluation in "
                "config/config.yaml"
            )
    their_chosen = theirs[other.chosen_seed]
    return {
        "experiment": baseline.name,
        "attack": cascade,
        "differs_in": differs_in,
        "uses_generated": baseline.uses_generated,
        "num_images": len(mine.image),
        "num_runs": len(ours),
        "trusted": other.is_trusted,
        "clean_accuracy": _pair(mine.clean_correct, their_chosen.clean_correct),
        "robust_accuracy": _pair(mine.robust_correct, their_chosen.robust_correct),
        "curve": scores_of(other.chosen.summary)["curve"],
        "effect": _effect_over_runs(arm, other, cascade),
    }


def differences(first: Experiment, second: Experiment) -> list[str]:
    """Return the names of the settings in which two experiments differ.

    Settings that change no model do not count, nor does where generated images would come from
    if one of the two uses none.

    Raises:
        UserError: their numbers of runs, the way to choose among these, or their attacks differ,
            so that no difference in accuracy could be put down to the settings.
    """
    check_comparable(
        (first.name, first.settings, first.evaluation),
        (second.name, second.settings, second.evaluation),
    )
    no_matter = {"seeds", "test_runs", "baseline", "analysis", "evaluation"}
    if not (first.uses_generated and second.uses_generated):
        no_matter |= {"generator", "num_samples", "selection", "labeller"}
    one, other = first.as_json(), second.as_json()
    return sorted(key for key in one if key not in no_matter and one[key] != other[key])


def arm_of(values: Sequence[float]) -> Json:
    """Return mean, standard deviation and 95 % interval of a mean accuracy over training runs.

    The interval ends at 0 or 1, where accuracies do.
    """
    interval = mean_interval(values) if len(values) >= MIN_RUNS else None
    if interval is not None:
        interval = max(0.0, interval[0]), min(1.0, interval[1])
    return {
        "num_runs": len(values),
        "mean": fmean(values),
        "std": stdev(values) if len(values) > 1 else None,
        "interval": interval and list(interval),
    }


def effect_of(ours: Sequence[float], theirs: Sequence[float]) -> Json | None:
    """Return the difference of two means over runs with Welch's 95 % interval, and both arms.

    None with fewer than `MIN_RUNS` runs on either side, or where no run of either side differs
    from the others.
    """
    if min(len(ours), len(theirs)) < MIN_RUNS or (found := welch_interval(ours, theirs)) is None:
        return None
    return {
        "difference": fmean(ours) - fmean(theirs),
        "interval": [max(-1.0, found[0]), min(1.0, found[1])],
        "experiment": arm_of(ours),
        "baseline": arm_of(theirs),
    }


def _effect_over_runs(arm: Arm, other: Arm, cascade: Cascade) -> Json | None:
    runs = [
        [evaluations[seed] for seed in sorted(evaluations)]
        for evaluations in (arm.evaluations, other.evaluations)
    ]
    clean = effect_of(*([run.summary["clean_accuracy"] for run in side] for side in runs))
    robust = effect_of(*([robust_accuracy(run, cascade) for run in side] for side in runs))
    return robust and {"clean_accuracy": clean, "robust_accuracy": robust}


def _check_all_tested(experiment: Experiment, arm: Arm) -> None:
    """Refuse an arm of which only some runs were evaluated: its mean would be of a selection."""
    settings = experiment.settings
    wanted = settings.seeds if settings.test_runs == "all" else (arm.chosen_seed,)
    missing = sorted(set(wanted) - set(arm.evaluations))
    if missing:
        raise UserError(
            f"test_runs of '{experiment.name}' is '{settings.test_runs}', but seed {missing[0]} "
            "has no evaluation; run 'pyrobust evaluate' on it"
        )
    more = sorted(set(arm.evaluations) - set(wanted))
    if more:
        raise UserError(
            f"seed {more[0]} of '{experiment.name}' has an evaluation, but test_runs is "
            f"'{settings.test_runs}' and seeds is {list(settings.seeds)}; omit its folder"
        )


def _check_threat(experiment: Experiment, arm: Arm, baseline: Experiment, other: Arm) -> None:
    for key in ("norm", "epsilon"):
        mine, theirs = arm.chosen.summary[key], other.chosen.summary[key]
        if mine != theirs:
            raise UserError(
                f"{key} of baseline '{baseline.name}' is {theirs}, but {mine} in "
                f"'{experiment.name}'; compare experiments with the same perturbation set"
            )


def _pair(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> Json:
    difference, low, high = paired_difference(ours, theirs)
    return {
        "baseline": float(theirs.mean()),
        "difference": difference,
        "interval": [low, high],
        "only_this": int((ours & ~theirs).sum()),
        "only_baseline": int((theirs & ~ours).sum()),
    }

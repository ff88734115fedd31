"""The experiment beside its baseline, image by image."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrobust.errors import UserError
from pyrobust.evaluation.intervals import paired_difference
from pyrobust.reporting.experiment import Experiment, differences
from pyrobust.reporting.rows import read_rows
from pyrobust.reporting.scores import scores_of
from pyrobust.reporting.stages import Evaluation


def compare(
    experiment: Experiment, evaluation: Evaluation, baseline: Experiment, other: Evaluation
) -> dict[str, Any]:
    """Return the paired differences, experiment minus baseline, with 95 % intervals.

    Both were attacked on the same images by AA+MT, so each image is its own control.

    Raises:
        UserError: the two met different images or different perturbation sets.
    """
    for key in ("norm", "epsilon"):
        mine, theirs = evaluation.summary[key], other.summary[key]
        if mine != theirs:
            raise UserError(
                f"{key} of baseline '{baseline.name}' is {theirs}, but {mine} in "
                f"'{experiment.name}': compare experiments with the same perturbation set"
            )
    ours, theirs = read_rows(evaluation), read_rows(other)
    same = (np.array_equal(ours.image, theirs.image), np.array_equal(ours.label, theirs.label))
    if not all(same):
        raise UserError(
            f"baseline '{baseline.name}' was evaluated on other images than '{experiment.name}': "
            "give both the same dataset and evaluation in config/config.yaml"
        )
    return {
        "experiment": baseline.name,
        "attack": "aa_mt",
        "differs_in": differences(experiment, baseline),
        "uses_generated": baseline.uses_generated,
        "num_images": len(ours.image),
        "clean_accuracy": _difference(ours.clean_correct, theirs.clean_correct),
        "robust_accuracy": _difference(ours.robust_correct, theirs.robust_correct),
        "curve": scores_of(other.summary)["curve"],
    }


def _difference(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> dict[str, Any]:
    difference, low, high = paired_difference(ours, theirs)
    return {
        "baseline": float(theirs.mean()),
        "difference": difference,
        "interval": [low, high],
        "only_this": int((ours & ~theirs).sum()),
        "only_baseline": int((theirs & ~ours).sum()),
    }

"""Accuracies with their intervals, and the experiment beside its baseline."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.lib
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pyrobust.errors import UserError
from pyrobust.evaluation.intervals import paired_difference, wilson_interval
from pyrobust.reporting.stage_results import Evaluation, Experiment, differences


def interval_of(accuracy: float, num_images: int) -> list[float]:
    """Return the 95 % Wilson interval of an accuracy over `num_images` images."""
    return list(wilson_interval(round(accuracy * num_images), num_images))


def scores_of(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Return clean and robust accuracy, and every attack stage, of one `evaluation.json`.

    `robust_accuracy` is the lower of AA+MT and AutoAttack, as in Table 2 of the paper.
    """
    num_images = evaluation["num_images"]
    autoattack = evaluation["autoattack"]
    return {
        "num_images": num_images,
        "clean_accuracy": evaluation["clean_accuracy"],
        "clean_interval": interval_of(evaluation["clean_accuracy"], num_images),
        "robust_accuracy": evaluation["worst"],
        "robust_interval": interval_of(evaluation["worst"], num_images),
        "aa_mt": {
            "robust_accuracy": evaluation["robust_accuracy"],
            "stages": _with_intervals(evaluation["stages"], num_images),
        },
        "autoattack": autoattack
        and {
            "robust_accuracy": autoattack["robust_accuracy"],
            "stages": _with_intervals(autoattack["stages"], num_images),
        },
        "curve": _with_intervals(evaluation["curve"], num_images),
    }


def _with_intervals(results: list[dict[str, Any]], num_images: int) -> list[dict[str, Any]]:
    return [
        {**result, "interval": interval_of(result["robust_accuracy"], num_images)}
        for result in results
    ]


_COLUMNS = ("image", "label", "clean_correct", "broken_by", "adversarial_prediction")


@dataclass(frozen=True)
class Rows:
    """One entry for each attacked test image, in the order of the test split."""

    image: NDArray[np.int64]
    label: NDArray[np.int64]
    clean_correct: NDArray[np.bool_]
    robust_correct: NDArray[np.bool_]
    """Correct, and still correct after every stage of the attack."""
    adversarial_prediction: NDArray[np.int64]


def read_rows(evaluation: Evaluation) -> Rows:
    """Read `rows.parquet` beside an evaluation.

    Raises:
        UserError: the file is missing, is no such file, or tells another robust accuracy than
            `evaluation.json`.
    """
    path = evaluation.folder / "rows.parquet"
    try:
        table = pq.read_table(path, columns=list(_COLUMNS))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: 'pyrobust evaluate' writes it") from error
    except (OSError, pyarrow.lib.ArrowException) as error:
        raise UserError(f"{path} is unreadable ({error}): 'pyrobust evaluate' writes it") from error
    columns: dict[str, NDArray[Any]] = {
        name: table[name].to_numpy() for name in _COLUMNS if name != "broken_by"
    }
    clean_correct = columns.pop("clean_correct").astype(bool)
    unbroken = table["broken_by"].is_null().to_numpy()
    rows = Rows(clean_correct=clean_correct, robust_correct=clean_correct & unbroken, **columns)
    standing = evaluation.summary["stages"][-1]["num_standing"]
    if rows.robust_correct.sum() != standing:
        raise UserError(
            f"{path} counts {rows.robust_correct.sum()} images standing, evaluation.json beside it "
            f"{standing}: delete the folder and run 'pyrobust evaluate' again"
        )
    return rows


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

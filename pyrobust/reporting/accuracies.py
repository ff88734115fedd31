"""Accuracies of an evaluation with their intervals, and what became of each test image."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow.lib
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pyrobust.errors import UserError
from pyrobust.evaluation.describe import ROWS
from pyrobust.evaluation.intervals import wilson_interval
from pyrobust.reporting.stage_results import Evaluation


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


Cascade = Literal["aa_mt", "worst"]
"""Which robust accuracy: that of AA+MT, or the lower of AA+MT and AutoAttack (Table 2)."""


def cascade_of(records: Iterable[dict[str, Any]]) -> Cascade:
    """Return the strongest cascade that all evaluations, `scores_of` or `evaluation.json`, ran."""
    return "worst" if all(record["autoattack"] for record in records) else "aa_mt"


def robust_scores(scores: dict[str, Any], cascade: Cascade) -> dict[str, Any]:
    """Return `robust_accuracy` and `robust_interval` under `cascade` of what `scores_of` returns.

    Under `worst` those of the result, which is AA+MT's where AutoAttack did not run.
    """
    accuracy = (scores["aa_mt"] if cascade == "aa_mt" else scores)["robust_accuracy"]
    interval = interval_of(accuracy, scores["num_images"])
    return {"robust_accuracy": accuracy, "robust_interval": interval}


_ACCURACY = {"aa_mt": "robust_accuracy", "worst": "worst"}


def robust_accuracy(evaluation: Evaluation, cascade: Cascade) -> float:
    """Return the robust accuracy of one `evaluation.json` under `cascade`."""
    return float(evaluation.summary[_ACCURACY[cascade]])


_COLUMNS = ("image", "label", "clean_correct", "adversarial_prediction")


@dataclass(frozen=True)
class Rows:
    """One entry for each attacked test image, in the order of the test split."""

    image: NDArray[np.int64]
    label: NDArray[np.int64]
    clean_correct: NDArray[np.bool_]
    robust_correct: NDArray[np.bool_]
    """Correct, and still correct after every stage of the attack."""
    adversarial_prediction: NDArray[np.int64]


def read_rows(evaluation: Evaluation, cascade: Cascade = "aa_mt") -> Rows:
    """Read `rows.parquet` of an evaluation.

    Args:
        cascade: whose outcome is `robust_correct`; for `worst` that of AutoAttack where it left
            fewer images correct than AA+MT.

    Raises:
        UserError: the file is missing, unreadable, or disagrees with `evaluation.json`.
    """
    path, summary = evaluation.folder / ROWS, evaluation.summary
    autoattack = cascade == "worst" and summary["worst"] < summary["robust_accuracy"]
    broken_by = "broken_by_autoattack" if autoattack else "broken_by"
    try:
        table = pq.read_table(path, columns=[*_COLUMNS, broken_by])
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; run 'pyrobust evaluate' to write it") from error
    except (OSError, pyarrow.lib.ArrowException) as error:
        raise UserError(
            f"{path} cannot be read ({error}); run 'pyrobust evaluate' to rewrite it"
        ) from error
    columns: dict[str, NDArray[Any]] = {name: table[name].to_numpy() for name in _COLUMNS}
    clean_correct = columns.pop("clean_correct").astype(bool)
    unbroken = table[broken_by].is_null().to_numpy()
    rows = Rows(clean_correct=clean_correct, robust_correct=clean_correct & unbroken, **columns)
    last_stage = (summary["autoattack"] if autoattack else summary)["stages"][-1]
    correct, expected = int(rows.robust_correct.sum()), last_stage["num_standing"]
    if correct != expected:
        raise UserError(
            f"{path} has {correct} robust images, but evaluation.json in the same folder has "
            f"{expected}; delete the folder and run 'pyrobust evaluate' again"
        )
    return rows

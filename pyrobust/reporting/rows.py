"""Rows of an evaluation: what became of each test image."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.lib
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pyrobust.errors import UserError
from pyrobust.reporting.stages import Evaluation

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

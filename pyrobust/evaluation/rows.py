"""One Parquet row for each attacked image."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pyrobust.evaluation.outcome import UNBROKEN, Outcome
from pyrobust.evaluation.stages import Cascade
from pyrobust.files import atomic_path


def write_rows(
    path: Path,
    labels: NDArray[np.int64],
    attacked: Sequence[tuple[Cascade, Outcome]],
) -> None:
    """Write `rows.parquet` (docs/formats.md); equal outcomes give equal bytes.

    Args:
        attacked: AA+MT, of which most columns tell, and cascades of which only the column
            `broken_by_<cascade>` tells.
    """
    cascade, outcome = attacked[0]
    columns = {
        "image": pa.array(np.arange(len(labels))),
        "label": pa.array(labels),
        "clean_prediction": pa.array(outcome.clean_prediction),
        "clean_correct": pa.array(outcome.clean_correct),
        "broken_by": _stage_names(cascade, outcome),
        "adversarial_prediction": pa.array(outcome.adversarial_prediction),
        "margin": pa.array(outcome.margin),
        "perturbation_norm": pa.array(outcome.perturbation_norm),
    }
    for other, its_outcome in attacked[1:]:
        columns[f"broken_by_{other.name}"] = _stage_names(other, its_outcome)
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(columns), temporary)


def _stage_names(cascade: Cascade, outcome: Outcome) -> pa.Array:
    names = [stage.name for stage in cascade.stages]
    found = [None if stage == UNBROKEN else names[stage] for stage in outcome.broken_by]
    return pa.array(found, type=pa.string())

"""One Parquet row for each attacked image."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pyrobust.evaluation.attack_stages import Cascade
from pyrobust.evaluation.outcomes import Outcome, names_of
from pyrobust.evaluation.robustness_curve import Curve
from pyrobust.files import atomic_path


def write_rows(
    path: Path,
    labels: NDArray[np.int64],
    attacked: Sequence[tuple[Cascade, Outcome]],
    curve: Curve | None,
    ids: NDArray[np.int64],
) -> None:
    """Write `rows.parquet` (docs/formats.md); equal outcomes give equal bytes.

    Args:
        attacked: AA+MT, which fills most columns, and cascades that fill only the column
            `broken_by_<cascade>`.
        curve: fills the column `broken_at`.
        ids: of the images, ascending.
    """
    cascade, outcome = attacked[0]
    columns = {
        "image": pa.array(ids),
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
    if curve:
        columns["broken_at"] = names_of(curve.broken_at, curve.radii.epsilons)
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(columns), temporary)


def _stage_names(cascade: Cascade, outcome: Outcome) -> pa.Array:
    return names_of(outcome.broken_by, [stage.name for stage in cascade.stages])

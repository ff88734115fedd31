"""The result of an evaluation in experiment trackers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyrobust.trackers import TrackerName, open_trackers


def track_result(result: Mapping[str, Any], folder: Path, trackers: Sequence[TrackerName]) -> None:
    """Send the accuracies of `evaluation.json` to trackers, as one new run.

    Step 0 is the clean accuracy, step k the robust accuracy after attack k. If AutoAttack
    ran after AA+MT, its accuracies have separate names.

    Args:
        folder: names the run; TensorBoard writes to `tensorboard/` in it.

    Raises:
        UserError: a tracker's package is missing, or it cannot start.
    """
    if not trackers:
        return
    config = {key: result[key] for key in ("settings", "subject", "norm", "epsilon", "num_images")}
    clean = float(result["clean_accuracy"])
    cascades = {"evaluation": result, "autoattack": result["autoattack"]}
    with open_trackers(trackers, folder, config) as opened:
        for name, cascade in cascades.items():
            if cascade is None:
                continue
            opened.log(0, name, {"clean_accuracy": clean, "robust_accuracy": clean})
            for step, stage in enumerate(cascade["stages"], 1):
                opened.log(step, name, {"robust_accuracy": float(stage["robust_accuracy"])})

"""What an experiment cost: the `cost.json` of its stages, and their sum."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyrobust.files import read_json

Json = dict[str, Any]


def gather_cost(stages: Mapping[str, Sequence[Path]]) -> Json:
    """Return the cost of each stage and of all.

    Args:
        stages: for each stage the `cost.json` files of its jobs; those that do not exist count
            as not recorded.
    """
    by_stage = {name: _sum(files) for name, files in stages.items()}
    recorded = [stage for stage in by_stage.values() if stage is not None]
    return {
        "stages": by_stage,
        "seconds": sum(stage["seconds"] for stage in recorded),
        "peak_memory_mb": max((stage["peak_memory_mb"] for stage in recorded), default=0),
        "devices": sorted({device for stage in recorded for device in stage["devices"]}),
        "versions": {
            name: version for stage in recorded for name, version in stage["versions"].items()
        },
    }


def _sum(files: Sequence[Path]) -> Json | None:
    """Return the cost of one stage, whose jobs may have run side by side; None: not recorded."""
    costs = [read_json(file, "its stage") for file in files if file.is_file()]
    if not costs:
        return None
    rates = [cost["images_per_second"] for cost in costs if cost.get("images_per_second")]
    return {
        "jobs": len(costs),
        "seconds": sum(cost["seconds"] for cost in costs),
        "images_per_second": sum(rates) / len(rates) if rates else None,
        "peak_memory_mb": max(cost["peak_memory_mb"] for cost in costs),
        "devices": sorted({cost["device"] for cost in costs}),
        "versions": {key: value for cost in costs for key, value in cost["versions"].items()},
    }

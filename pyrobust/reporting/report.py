"""Write the record, the cost and the page of an experiment from the results of its stages."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyrobust.config.report import ReportInputs
from pyrobust.errors import UserError
from pyrobust.files import read_json, write_json, write_text
from pyrobust.reporting.page import Origin, build_page
from pyrobust.reporting.record import build_record
from pyrobust.reporting.stage_results import load_stages, parse_experiment

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
        "commits": {
            commit: [
                name for name, stage in by_stage.items() if stage and commit in stage["commits"]
            ]
            for commit in sorted({commit for stage in recorded for commit in stage["commits"]})
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
        "commits": sorted({cost["commit"] for cost in costs if "commit" in cost}),
    }


@dataclass(frozen=True)
class Outputs:
    """The three files of a report."""

    record: Path
    cost: Path
    page: Path


def write_report(inputs: ReportInputs, outputs: Outputs, origin: Origin) -> None:
    """Build record, cost and page, then write them, the record last.

    Raises:
        UserError: a stage is missing or disagrees with the experiment; nothing is written then.
    """
    experiment = parse_experiment(inputs.name, inputs.experiment)
    compared = inputs.baseline
    baseline = parse_experiment(compared.name, compared.experiment) if compared else None
    if experiment.uses_generated != (inputs.generated is not None):
        raise UserError(
            f"mixing_factor of '{experiment.name}' is {experiment.settings.mixing_factor:g}: "
            "expected generated images (generator, samples, neighbours and quality) where it is "
            "below 1, and none where it is 1"
        )
    stages = load_stages(inputs)
    record = build_record(experiment, stages, baseline)
    cost = gather_cost(_cost_files(inputs))
    page = build_page(record, stages, cost, origin)
    write_json(outputs.cost, cost)
    write_text(outputs.page, page)
    write_json(outputs.record, record)


def _cost_files(inputs: ReportInputs) -> dict[str, Sequence[Path]]:
    """Return the `cost.json` files by verb, in the order of the flow."""
    return {
        "dataset": _costs_of([inputs.dataset]),
        "train-labeller": _costs_of([inputs.labeller]),
        **_generated_cost_files(inputs),
        "train": _costs_of(inputs.runs),
        "evaluate": _costs_of(inputs.evaluations),
        "evaluate (labeller)": _costs_of([inputs.labeller_evaluation]),
        "landscape": _costs_of([inputs.landscape]),
    }


def _generated_cost_files(inputs: ReportInputs) -> dict[str, Sequence[Path]]:
    generated = inputs.generated
    if generated is None:
        return {}
    jobs = {
        stage: [folder / "cost.json" for folder in folders]
        for stage, folders in inputs.jobs.items()
    }
    return {
        "fit-generator": _costs_of([generated.generator]),
        "sample": jobs.get("sample", []),
        "label": jobs.get("label", []),
        # Not every selection looks for near-copies.
        **({"distances": jobs["distances"]} if "distances" in jobs else {}),
        "select": _costs_of([generated.samples]),
        "features": jobs.get("features", []),
        "neighbours": [generated.neighbours.with_suffix(".cost.json")],
        "quality": [generated.quality.with_suffix(".cost.json")],
    }


def _costs_of(indexes: Iterable[Path]) -> list[Path]:
    """Return the `cost.json` next to each index file."""
    return [index.with_name("cost.json") for index in indexes]

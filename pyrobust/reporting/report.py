"""From the folders of the stages to record, cost and page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyrobust.errors import UserError
from pyrobust.files import write_json, write_text
from pyrobust.reporting.cost import gather_cost
from pyrobust.reporting.experiment import Experiment
from pyrobust.reporting.origin import Origin
from pyrobust.reporting.page import build_page
from pyrobust.reporting.record import build_record
from pyrobust.reporting.stages import GeneratedFolders, StageFolders, load_stages

# Their jobs are no inputs of a report, except for their cost.
STAGES_OF_MANY_JOBS = ("sample", "label", "distances", "features")


@dataclass(frozen=True)
class Outputs:
    """The three files of a report."""

    record: Path
    cost: Path
    page: Path


def write_report(
    experiment: Experiment,
    folders: StageFolders,
    baseline: Experiment | None,
    jobs: Sequence[tuple[str, Path]],
    outputs: Outputs,
    origin: Origin,
) -> None:
    """Build record, cost and page, then write them, the record last.

    Args:
        jobs: stages of many jobs, with the folders below which their `cost.json` lie.

    Raises:
        UserError: a stage is missing or disagrees with the experiment; nothing is written then.
    """
    if experiment.uses_generated != (folders.generated is not None):
        raise UserError(
            f"mixing_factor of '{experiment.name}' is {experiment.settings.mixing_factor:g}: "
            "expected --generator, --samples, --neighbours and --quality where it is below 1, "
            "and none of them where it is 1"
        )
    stages = load_stages(folders)
    record = build_record(experiment, stages, baseline)
    cost = gather_cost(_cost_files(folders, jobs))
    page = build_page(record, stages, cost, origin)
    write_json(outputs.cost, cost)
    write_text(outputs.page, page)
    write_json(outputs.record, record)


def _cost_files(
    folders: StageFolders, jobs: Sequence[tuple[str, Path]]
) -> dict[str, Sequence[Path]]:
    """Return the `cost.json` files by verb, in the order of the flow."""
    return {
        "dataset": _costs_in(folders.dataset),
        "train-labeller": _costs_in(folders.labeller),
        **(_generated_cost_files(folders.generated, jobs) if folders.generated else {}),
        "train": _costs_in(*folders.runs),
        "evaluate": _costs_in(*folders.evaluations),
        "evaluate (labeller)": _costs_in(folders.labeller_evaluation),
        "landscape": _costs_in(folders.landscape),
    }


def _generated_cost_files(
    folders: GeneratedFolders, jobs: Sequence[tuple[str, Path]]
) -> dict[str, Sequence[Path]]:
    of_jobs = {
        stage: [file for name, folder in jobs if name == stage for file in _costs_below(folder)]
        for stage in STAGES_OF_MANY_JOBS
    }
    return {
        "fit-generator": _costs_in(folders.generator),
        "sample": of_jobs["sample"],
        "label": of_jobs["label"],
        # Not every selection looks for near-copies.
        **({"distances": of_jobs["distances"]} if of_jobs["distances"] else {}),
        "select": _costs_in(folders.samples),
        "features": of_jobs["features"],
        "neighbours": [folders.neighbours.with_suffix(".cost.json")],
        "quality": [folders.quality.with_suffix(".cost.json")],
    }


def _costs_in(*folders: Path) -> list[Path]:
    return [folder / "cost.json" for folder in folders]


def _costs_below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("cost.json"))

"""From the folders of the stages to record, cost and page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyrobust.errors import UserError
from pyrobust.files import write_json, write_text
from pyrobust.reporting.cost import gather_cost
from pyrobust.reporting.experiment import Experiment
from pyrobust.reporting.page import build_page
from pyrobust.reporting.record import build_record
from pyrobust.reporting.stages import StageFolders, load_stages


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
    page = build_page(record, stages, cost)
    write_json(outputs.cost, cost)
    write_text(outputs.page, page)
    write_json(outputs.record, record)


def _cost_files(folders: StageFolders, jobs: Sequence[tuple[str, Path]]) -> dict[str, list[Path]]:
    """Return the `cost.json` files by verb."""
    generated = folders.generated
    of_folders: dict[str, Sequence[Path]] = {
        "dataset": [folders.dataset],
        "train-labeller": [folders.labeller],
        "fit-generator": [generated.generator] if generated else [],
        "select": [generated.samples] if generated else [],
        "train": folders.runs,
        "evaluate": folders.evaluations,
        "evaluate (labeller)": [folders.labeller_evaluation],
        "landscape": [folders.landscape],
    }
    files = {
        name: [folder / "cost.json" for folder in group]
        for name, group in of_folders.items()
        if group
    }
    if generated:
        for file in (generated.neighbours, generated.quality):
            files[file.stem] = [file.with_suffix(".cost.json")]
    for name, folder in jobs:
        files.setdefault(name, []).extend(sorted(folder.rglob("cost.json")))
    return files

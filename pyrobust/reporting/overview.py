"""The page that compares many experiments: one HTML file that needs nothing else."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyrobust.config import parse_epsilon
from pyrobust.config.experiment import NOT_OF_THE_ATTACK
from pyrobust.errors import UserError
from pyrobust.files import described_by, read_json, write_text
from pyrobust.reporting.accuracies import Cascade, cascade_of, robust_scores
from pyrobust.reporting.charts import accuracy_chart
from pyrobust.reporting.effects import arm_of
from pyrobust.reporting.page import render
from pyrobust.reporting.published_results import SNAPSHOT, leaders_on, results_on
from pyrobust.reporting.tables import generated_data
from pyrobust.reporting.wording import architecture_name, generator_kind, norm_name

Record = dict[str, Any]

# What a table can be sorted by: words, key of the rows, and whether large values come first.
SORTINGS = (
    ("robust accuracy", "robust_accuracy", True),
    ("clean accuracy", "clean_accuracy", True),
    ("share of originals", "mixing_factor", False),
    ("cost", "hours", False),
    ("name", "name", False),
)


def write_overview(records: Sequence[Path], output: Path) -> None:
    """Write the page of several experiments.

    Args:
        records: results/<experiment>.json; cost and page are expected in the same folder.

    Raises:
        UserError: a record is missing or invalid.
    """
    write_text(output, build_overview([_read(path) for path in records], output.parent))


def build_overview(experiments: Sequence[tuple[Path, Record, Record]], folder: Path) -> str:
    """Return the page; equal inputs give equal pages.

    Args:
        experiments: path, record and cost of each.
        folder: where the page will lie; links to the experiments' pages start there.
    """
    by_task: dict[tuple[str, str, str], list[tuple[Path, Record, Record]]] = {}
    for path, record, cost in experiments:
        settings = record["settings"]
        task = (settings["dataset"], settings["norm"], settings["epsilon"])
        by_task.setdefault(task, []).append((path, record, cost))
    ordered = sorted(by_task, key=lambda task: (task[0], task[1], parse_epsilon(task[2])))
    return render(
        "overview.html.j2",
        tasks=[_task(number, task, by_task[task], folder) for number, task in enumerate(ordered)],
        num_experiments=len(experiments),
        sortings=SORTINGS,
        snapshot=SNAPSHOT,
    )


def _read(path: Path) -> tuple[Path, Record, Record]:
    made_by = f"snakemake {path}"
    record = read_json(path, made_by)
    if "robust_accuracy" not in record:
        raise UserError(
            f"{path} is not the record of an experiment; expected results/<experiment>.json"
        )
    cost = read_json(path.with_suffix(".cost.json"), made_by)
    with described_by(path, made_by):
        _row(path, record, cost, path.parent, cascade_of([record]))
    return path, record, cost


def _row(path: Path, record: Record, cost: Record, folder: Path, cascade: Cascade) -> Record:
    """Return one line of the table, its robust accuracy under `cascade`."""
    settings = record["settings"]
    uses_generated = record["generator"] is not None
    kind = generator_kind(settings["generator"]) if uses_generated else None
    page = path.with_suffix(".html")
    return {
        "name": record["experiment"],
        "page": Path(os.path.relpath(page, folder)).as_posix(),
        "model": architecture_name(settings["architecture"]),
        "data": generated_data(kind, settings["num_samples"]),
        "mixing_factor": settings["mixing_factor"],
        "num_images": record["num_images"],
        "clean_accuracy": record["clean_accuracy"],
        "clean_interval": record["clean_interval"],
        **robust_scores(record, cascade),
        "bounds": _bounds(record, cascade),
        "baseline": record["baseline"],
        "paper": record["paper"],
        "departures": record["attack_departures"],
        "is_bound": not record["labeller"]["attack_check"]["passed"]
        or record.get("trusted") is False,
        "num_runs": len(record["runs"]),
        "seconds": cost["seconds"],
        "hours": cost["seconds"] / 3600,
    }


def _bounds(record: Record, cascade: Cascade) -> tuple[float, float]:
    """Return between what the robust accuracy lies: images and, if known, seeds considered."""
    intervals = [robust_scores(record, cascade)["robust_interval"]]
    tests = [run["test"] for run in record["runs"]]
    if tests and all(tests):
        over_seeds = arm_of([robust_scores(test, cascade)["robust_accuracy"] for test in tests])
        intervals += [over_seeds["interval"]] if over_seeds["interval"] else []
    return min(low for low, _ in intervals), max(high for _, high in intervals)


def _attacked_alike(records: Sequence[Record]) -> bool:
    """Return whether all were attacked on the same images with the same settings of AA+MT."""
    ignored = {"name", *NOT_OF_THE_ATTACK}
    attacks = [
        {
            key: value
            for key, value in record["settings"]["evaluation"].items()
            if key not in ignored
        }
        for record in records
    ]
    return all(attack == attacks[0] for attack in attacks)


def _tied_with_first(rows: list[Record]) -> list[Record]:
    """Return the rows whose intervals overlap with that of the first."""
    low, _ = rows[0]["bounds"]
    return [row for row in rows[1:] if row["bounds"][1] >= low]


def _task(
    number: int,
    task: tuple[str, str, str],
    experiments: Sequence[tuple[Path, Record, Record]],
    folder: Path,
) -> Record:
    """Return one data set with its perturbation set: rows, best first, with their ranks.

    All are compared under one attack: the lower of AA+MT and AutoAttack if all ran both, else
    AA+MT.
    """
    records = [record for _, record, _ in experiments]
    cascade = cascade_of(records)
    rows = [_row(path, record, cost, folder, cascade) for path, record, cost in experiments]
    rows = sorted(rows, key=lambda row: (-float(row["robust_accuracy"]), row["name"]))
    for _, key, descending in SORTINGS:
        ranked = sorted(rows, key=lambda row: row[key], reverse=descending)
        for rank, row in enumerate(ranked):
            row.setdefault("ranks", {})[key] = rank
    dataset, norm, epsilon = task
    return {
        "id": f"task-{number}",
        "title": f"{dataset}, {norm_name(norm)}, ε = {epsilon}",
        "rows": rows,
        "attack": cascade,
        "alike": _attacked_alike(records),
        "tied": _tied_with_first(rows),
        "chart": accuracy_chart(rows, f"Clean and robust accuracy on {dataset}, {norm} {epsilon}"),
        "paper": [(result, result.robust_under(cascade)) for result in results_on(*task)[-1:]],
        "leaders": leaders_on(*task)[:1],
        "departs": [row["name"] for row in rows if row["departures"]],
        "bounds": [row["name"] for row in rows if row["is_bound"]],
    }

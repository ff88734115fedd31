"""The choice among runs of an experiment, by validation only (appendix A): the verb `choose`."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyrobust.config import parse_settings
from pyrobust.config.training import TrainSettings
from pyrobust.errors import UserError
from pyrobust.files import atomic_path, described_by, read_json, write_json
from pyrobust.models.files import WEIGHTS


def choose_run(runs: Sequence[Path], output: Path) -> None:
    """Copy the weights of the most robust run to `output` and write `choice.json`.

    Args:
        runs: folders that `pyrobust train` wrote, which differ only in their seed. Among equally
            robust runs, the one with the lowest seed is chosen.

    Raises:
        UserError: a run is not finished, or the runs are not comparable.
    """
    records = [_read(run / "training.json") for run in runs]
    _check_comparable(runs, records)
    order = sorted(range(len(runs)), key=lambda i: _seed(records[i]))
    best = max(order, key=lambda i: records[i]["validation"]["robust_accuracy"])
    with atomic_path(output / WEIGHTS) as temporary:
        shutil.copyfile(runs[best] / WEIGHTS, temporary)
    choice = {
        "chosen_seed": _seed(records[best]),
        "runs": [
            {
                "seed": _seed(records[i]),
                "best_step": records[i]["best_step"],
                "validation": records[i]["validation"],
            }
            for i in order
        ],
    }
    write_json(output / "choice.json", choice)


def _read(path: Path) -> dict[str, Any]:
    """Return the record of a run, with the values that the choice depends on."""
    record = read_json(path, "pyrobust train")
    with described_by(path, "pyrobust train"):
        parse_settings(TrainSettings, record["settings"], path)
        float(record["validation"]["robust_accuracy"])
        int(record["best_step"])
    return record


def _seed(record: dict[str, Any]) -> int:
    seed: int = record["settings"]["seed"]
    return seed


def _check_comparable(runs: Sequence[Path], records: Sequence[dict[str, Any]]) -> None:
    seeds = [_seed(record) for record in records]
    if len(set(seeds)) < len(seeds):
        raise UserError(f"the runs have the seeds {seeds}; expected one run per seed")
    facts = [_facts(record) for record in records]
    for run, mine in zip(runs, facts, strict=True):
        for key, value in mine.items():
            if value != facts[0][key]:
                raise UserError(
                    f"{run} was trained with {key} {value} and {runs[0]} with {facts[0][key]}: "
                    "choose among runs that differ only in their seed"
                )


def _facts(record: dict[str, Any]) -> dict[str, Any]:
    """Return what must be equal in all runs: settings, code, and images of batch statistics."""
    settings = dict(parse_settings(TrainSettings, record["settings"]))
    del settings["seed"]
    return settings | {key: record.get(key) for key in ("own_code", "batch_norm_images")}

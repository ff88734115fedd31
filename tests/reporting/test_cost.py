"""Costs add up, and a stage without one is not hidden."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from pyrobust.files import write_json
from pyrobust.reporting.report import gather_cost


def cost_file(path: Path, seconds: float, device: str = "cpu") -> Path:
    cost = {"seconds": seconds, "peak_memory_mb": 10 * seconds, "device": device}
    write_json(path, cost | {"versions": {"torch": "2.14.1"}, "images_per_second": 100 * seconds})
    return path


def test_jobs_of_a_stage_are_summed(tmp_path: Path) -> None:
    parts = [cost_file(tmp_path / f"{part}/cost.json", seconds=part) for part in (1, 3)]
    cost = gather_cost({"sample": parts, "train": [cost_file(tmp_path / "c.json", 5, "gpu")]})
    assert cost["stages"]["sample"]["jobs"] == 2
    assert cost["stages"]["sample"]["seconds"] == 4
    assert cost["stages"]["sample"]["images_per_second"] == 200
    assert cost["seconds"] == 9
    assert cost["peak_memory_mb"] == 50
    assert cost["devices"] == ["cpu", "gpu"]


def test_the_peak_of_memory_is_that_of_the_process_alone(tmp_path: Path) -> None:
    script = "from pyrobust.cost import peak_memory_mb; print(peak_memory_mb('cpu'))"
    command = [sys.executable, "-c", script]
    held = np.ones(1 << 26)  # 512 MiB
    peak = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert 5 < peak < held.nbytes / 2**20


def test_a_stage_without_a_cost_is_shown_as_such(tmp_path: Path) -> None:
    cost = gather_cost({"dataset": [tmp_path / "cost.json"]})
    assert cost["stages"] == {"dataset": None}
    assert cost["seconds"] == 0


def test_stages_are_listed_by_the_commit_that_made_them(tmp_path: Path) -> None:
    files = {}
    for stage, commit in (("train", "b"), ("evaluate", "a"), ("label", "b"), ("select", None)):
        files[stage] = [cost_file(tmp_path / f"{stage}.json", 1)]
        if commit:
            write_json(
                files[stage][0], json.loads(files[stage][0].read_text()) | {"commit": commit}
            )
    assert gather_cost(files)["commits"] == {"a": ["evaluate"], "b": ["train", "label"]}

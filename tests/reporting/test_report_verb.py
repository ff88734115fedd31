"""The verb, as the workflow's rule calls it."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pyrobust.cli import main
from pyrobust.config.report import ReportInputs
from pyrobust.files import write_json


def values_of(inputs: ReportInputs) -> dict[str, Any]:
    """Return what the workflow writes of an experiment."""
    jobs = {"sample": (inputs.choice.parent,)}
    return inputs.model_copy(update={"name": "x", "jobs": jobs}).model_dump(mode="json")


def run_report(monkeypatch: pytest.MonkeyPatch, text: str, folder: Path) -> int:
    (folder / "inputs").mkdir()
    (folder / "inputs/x.inputs.json").write_text(text)
    options = {"output": "x.json", "cost": "x.cost.json", "page": "x.html"}
    words = [word for name, file in options.items() for word in (f"--{name}", str(folder / file))]
    described = str(folder / "inputs/x.inputs.json")
    monkeypatch.setattr(sys, "argv", ["pyrobust", "report", described, *words])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_the_verb_writes_record_cost_and_page(
    finished: ReportInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_report(monkeypatch, json.dumps(values_of(finished)), tmp_path) == 0
    written = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert written == {"x.json", "x.cost.json", "x.html"}


def test_the_cost_is_of_the_jobs_that_the_experiment_uses(
    finished: ReportInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [tmp_path / f"parts/{part}" for part in range(3)]
    cost = {"seconds": 2, "peak_memory_mb": 1, "device": "cpu", "versions": {}}
    for part in parts:
        write_json(part / "cost.json", cost)
    given = {**values_of(finished), "jobs": {"sample": [str(part) for part in parts[1:]]}}
    assert run_report(monkeypatch, json.dumps(given), tmp_path) == 0
    stages = json.loads((tmp_path / "x.cost.json").read_text())["stages"]
    assert (stages["sample"]["jobs"], stages["sample"]["seconds"]) == (2, 4)
    assert stages["label"] is None and "distances" not in stages


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"generated": {"generator": "g/generator.json"}}, "'generated.samples' is missing"),
        ({"generated": None}, "mixing_factor of 'x' is 0.3: expected generated images"),
        ({"baseline": {"name": "y", "experiment": {}}}, "'baseline.choice' is missing"),
        ({"jobs": {"sampling": "x"}}, "jobs"),
        ({"experiment": {}}, "generator of experiment 'x' is null"),
        (None, "x.inputs.json is not JSON"),
    ],
)
def test_wrong_inputs_are_refused_in_one_sentence(
    finished: ReportInputs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any] | None,
    sentence: str,
) -> None:
    text = "{" if changes is None else json.dumps(values_of(finished) | changes)
    assert run_report(monkeypatch, text, tmp_path) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert sentence in line, line
    assert not [path for path in tmp_path.iterdir() if path.is_file()]

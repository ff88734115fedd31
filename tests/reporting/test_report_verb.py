"""The verb, as the workflow's rule calls it."""

import sys
from pathlib import Path

import pytest

from pyrobust.cli import main
from pyrobust.reporting.stage_results import StageFolders
from tests.reporting.fixtures import experiment_json


def arguments(folders: StageFolders, target: Path) -> list[str]:
    assert folders.generated
    options = {
        "experiment": experiment_json(),
        "dataset": folders.dataset,
        "labeller": folders.labeller,
        "labeller-evaluation": folders.labeller_evaluation,
        "choice": folders.choice,
        "landscape": folders.landscape,
        "generator": folders.generated.generator,
        "samples": folders.generated.samples,
        "neighbours": folders.generated.neighbours,
        "quality": folders.generated.quality,
        "output": target / "x.json",
        "cost": target / "x.cost.json",
        "page": target / "x.html",
    }
    lists = {"run": folders.runs, "evaluation": folders.evaluations}
    flat = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
    return flat + [
        str(part) for name, values in lists.items() for v in values for part in (f"--{name}", v)
    ]


def run_report(monkeypatch: pytest.MonkeyPatch, options: list[str]) -> int:
    monkeypatch.setattr(sys, "argv", ["pyrobust", "report", "x", *options])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_the_verb_writes_record_cost_and_page(
    finished: StageFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = ["--cost-of", f"sample={finished.choice}"]
    assert run_report(monkeypatch, [*arguments(finished, tmp_path), *parts]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"x.json", "x.cost.json", "x.html"}


@pytest.mark.parametrize(
    ("drop", "add", "sentence"),
    [
        ("--quality", [], "--generator, --samples, --neighbours and --quality come together"),
        ("", ["--baseline-name", "y"], "baseline 'y' also needs --baseline-experiment"),
        ("", ["--cost-of", "sample"], "--cost-of is 'sample', expected STAGE=FOLDER"),
    ],
)
def test_half_given_inputs_are_refused(
    finished: StageFolders,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    drop: str,
    add: list[str],
    sentence: str,
) -> None:
    options = arguments(finished, tmp_path)
    if drop:
        place = options.index(drop)
        del options[place : place + 2]
    assert run_report(monkeypatch, options + add) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())

"""A submission is one folder whose parts belong together, and RobustBench's code loads it."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from pyrobust.cli import app
from pyrobust.config.evaluation import EvaluationSettings, ThreatSettings
from pyrobust.errors import UserError
from pyrobust.evaluation.evaluate import evaluate
from pyrobust.evaluation.labelled_images import LabelledImages
from pyrobust.evaluation.leaderboard import Board, Publication
from pyrobust.evaluation.model_sources import ModelSource
from pyrobust.evaluation.model_under_test import Subject
from pyrobust.evaluation.submission import Submission, write_submission
from pyrobust.evaluation.transcripts.transcript import Transcript
from pyrobust.files import read_json, write_json
from pyrobust.models import ModelSpec, build_model, initialize, save_model

PAPER = Publication(
    title="Improving Robustness", authors="A, B", link="https://example.org", venue="Unpublished",
    architecture="WideResNet-10-1", footnote="It uses 1M generated images.",
)  # fmt: skip
NAME = "Gowal2021Improving"
SPEC = ModelSpec("wrn-10-1", "silu", 10, (32, 32, 3), (0.49, 0.48, 0.45), (0.25, 0.24, 0.26))
ROOT = Path(__file__).parents[2]

# RobustBench's classes made of this project's, for machines without RobustBench.
STAND_IN = """
from torch import nn
from pyrobust.models import ModelSpec, build_model
class Swish(nn.Module): pass
def DMWideResNet(num_classes, depth, width, activation_fn, mean, std):
    assert activation_fn is Swish
    spec = ModelSpec(f"wrn-{depth}-{width}", "silu", num_classes, (32, 32, 3), mean, std)
    return build_model(spec)
DMPreActResNet = None
"""


def network(seed: int) -> torch.nn.Module:
    built = build_model(SPEC)
    initialize(built, torch.Generator().manual_seed(seed), zero_logits=False)
    return built.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model, its evaluation on six images, and their transcript."""
    folder = tmp_path_factory.mktemp("evaluated")
    save_model(folder / "model.safetensors", network(0), SPEC)
    images = torch.rand((6, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    subject = Subject.open(
        ModelSource(str(folder / "model.safetensors")),
        LabelledImages.of_tensors(images, network(0)(images).argmax(1), 10, "cifar10"),
        ThreatSettings(norm="linf", epsilon="8/255"),
        "cpu",
    )
    settings = EvaluationSettings(attack="pgd40", pass_size=8)
    evaluate(subject, folder / "out", settings, transcript=folder / "t.safetensors")
    result = read_json(folder / "out/evaluation.json", "")
    result["autoattack"] = {"robust_accuracy": result["worst"], "stages": []}
    write_json(folder / "out/evaluation.json", result)
    return folder


@pytest.fixture
def submission(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Submission:
    boards = {("cifar10", "linf"): Board("8/255", 6)}
    monkeypatch.setattr("pyrobust.evaluation.leaderboard.BOARDS", boards)
    model, transcript = folder / "model.safetensors", folder / "t.safetensors"
    return Submission(NAME, PAPER, folder / "out", transcript, model)


@pytest.mark.usefixtures("submission")
def test_the_verb_writes_the_whole_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyrobust.evaluation.submission._loads", lambda output: False)
    options = {
        "--title": PAPER.title, "--authors": PAPER.authors, "--link": PAPER.link,
        "--architecture": PAPER.architecture, "--footnote": PAPER.footnote, "--name": NAME,
        "--model": folder / "model.safetensors", "--transcript": folder / "t.safetensors",
        "--output": tmp_path / "kit",
    }  # fmt: skip
    arguments = [str(word) for pair in options.items() for word in pair]
    result = CliRunner().invoke(
        app, ["robustbench", str(folder / "out"), *arguments], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    assert "install --no-deps robustbench, and run" in result.output
    kit = tmp_path / "kit"
    files = {path.relative_to(kit).as_posix() for path in kit.rglob("*") if path.is_file()}
    assert files - {".lock"} == {
        f"model_info/cifar10/Linf/{NAME}.json", f"models/cifar10/Linf/{NAME}.pt",
        "transcript.safetensors", "test_loading.py", "ISSUE.md",
    }  # fmt: skip
    entry = json.loads((kit / f"model_info/cifar10/Linf/{NAME}.json").read_text())
    issue = (kit / "ISSUE.md").read_text()
    assert entry["name"] == PAPER.title
    assert f"- **Robust accuracy**: {entry['autoattack_acc']}\n" in issue
    assert f"[New Model] {NAME}" in issue
    assert "DMWideResNet(num_classes=10, depth=10, width=1, activation_fn=Swish" in issue
    assert "import pyrobust" not in (kit / "test_loading.py").read_text()
    assert "from pyrobust" not in (kit / "test_loading.py").read_text()


def test_the_loader_test_compares_the_logits(
    submission: Submission, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "packages/robustbench/model_zoo/architectures"
    place.mkdir(parents=True)
    for package in (place, place.parent, place.parent.parent):
        (package / "__init__.py").touch()
    (place / "dm_wide_resnet.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "packages"), str(ROOT)]))
    monkeypatch.syspath_prepend(tmp_path / "packages")
    assert write_submission(submission, tmp_path / "kit")
    weights = tmp_path / f"kit/models/cifar10/Linf/{NAME}.pt"
    state = torch.load(weights, weights_only=True)
    state["logits.bias"] += 0.5
    torch.save(state, weights)
    run = [sys.executable, str(tmp_path / "kit/test_loading.py")]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "not close" in done.stderr


def test_the_package_of_robustbench_loads_the_weights(
    submission: Submission, tmp_path: Path
) -> None:
    if importlib.util.find_spec("robustbench") is None:
        pytest.skip("needs the package robustbench")
    assert write_submission(submission, tmp_path / "kit")


def other_weights(folder: Path, tmp_path: Path) -> Path:
    save_model(tmp_path / "other.safetensors", network(1), SPEC)
    return tmp_path / "other.safetensors"


def evaluation_with(**changes: float) -> Callable[[Path, Path], Path]:
    def changed(folder: Path, tmp_path: Path) -> Path:
        shutil.copytree(folder / "out", tmp_path / "out")
        result = read_json(tmp_path / "out/evaluation.json", "")
        write_json(tmp_path / "out/evaluation.json", {**result, **changes})
        return tmp_path / "out"

    return changed


@pytest.mark.parametrize(
    ("name", "group", "value"),
    [
        ("norm", "threat", {"norm": "l2", "epsilon": "8/255"}),
        ("epsilon", "threat", {"norm": "linf", "epsilon": "16/255"}),
        ("images", "images", {"sha256": "0" * 64}),
        ("model", "model", {"sha256": ["0" * 64]}),
    ],
)
def test_a_transcript_of_another_evaluation_is_refused_by_name(
    name: str, group: str, value: dict[str, Any], submission: Submission, tmp_path: Path
) -> None:
    found = Transcript.read(submission.transcript)
    other = replace(found, facts={**found.facts, group: {**found.facts[group], **value}})
    other.write(tmp_path / "t.safetensors")
    with pytest.raises(UserError, match=rf"^{name} is .*use the transcript of this evaluation"):
        write_submission(replace(submission, transcript=tmp_path / "t.safetensors"), tmp_path / "k")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", "improving", "name is 'improving', expected <Name><Year>"),
        ("model", other_weights, r"has other weights .* than the transcript"),
        ("evaluation", evaluation_with(worst=0.5), "worst is .* use the transcript of this"),
        ("evaluation", evaluation_with(clean_accuracy=0.9), "clean_accuracy is 1 by .* but 0.9 in"),
        ("transcript", lambda folder, _: folder / "model.safetensors", "pyrobust-transcript"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(
    field: str, value: Any, message: str, submission: Submission, folder: Path, tmp_path: Path
) -> None:
    changed = value(folder, tmp_path) if callable(value) else value
    with pytest.raises(UserError, match=message):
        write_submission(replace(submission, **{field: changed}), tmp_path / "kit")
    assert not (tmp_path / "kit").exists()

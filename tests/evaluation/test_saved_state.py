"""State and results belong to what a model computes, not to its name."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from pyrobust.cli import app
from pyrobust.errors import UserError
from pyrobust.evaluation.saved_state import fingerprint, state_folder
from pyrobust.files import read_json

X = torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(0))

MODULE = """
import torch
from torch import nn
from helper import sign
class Model(nn.Module):
    def forward(self, x):
        return {change} * sign * torch.nn.functional.pad(x.flatten(1), (0, 10))[:, :10]
"""

ATTACK = [
    *("--num-images", "4", "--batch-size", "2", "--norm", "linf", "--epsilon", "8/255"),
    *("--apgd-ce-steps", "1", "--apgd-ce-restarts", "1"),
    *("--apgd-dlr-steps", "1", "--apgd-dlr-restarts", "1"),
    *("--multitargeted-steps", "1", "--multitargeted-restarts", "1"),
]


def linear(x: Tensor) -> Tensor:
    return x.flatten(1)[:, :3]


def test_a_state_is_found_again_by_its_logits(tmp_path: Path) -> None:
    logits = fingerprint(linear, X)
    assert logits.shape == (20, 3)
    folder = state_folder(tmp_path, {"a": 1}, logits)
    assert state_folder(tmp_path, {"a": 1}, logits) == folder
    # As on another processor.
    assert state_folder(tmp_path, {"a": 1}, logits * np.float32(1 + 1e-6)) == folder
    others = [
        state_folder(tmp_path, {"a": 2}, logits),
        state_folder(tmp_path, {"a": 1}, fingerprint(lambda x: -linear(x), X)),
        state_folder(tmp_path, {"a": 1}, fingerprint(lambda x: 1.01 * linear(x), X)),
        state_folder(tmp_path, {"a": 1}, np.full_like(logits, np.nan)),
    ]
    assert len({folder, *others}) == 5


def test_damaged_logits_are_written_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logits = fingerprint(linear, X)
    folder = state_folder(tmp_path, {"a": 1}, logits)
    (folder / "logits.npy").write_bytes(b"\x93NUMPY")
    assert state_folder(tmp_path, {"a": 1}, logits) == folder
    assert "logits.npy is damaged" in caplog.text
    np.testing.assert_array_equal(np.load(folder / "logits.npy"), logits)


def test_a_randomised_network_is_known_by_its_files_alone() -> None:
    def noisy(x: Tensor) -> Tensor:
        return linear(x) + torch.randn(len(x), 3)

    assert not fingerprint(noisy, X).any()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    write(tmp_path, "1.0", "1.0")
    return tmp_path


def write(folder: Path, change: str, sign: str) -> None:
    """Write the model's module and the one that it imports, as an editor would, and forget both."""
    import sys

    (folder / "model_of_mine.py").write_text(MODULE.replace("{change}", change))
    (folder / "helper.py").write_text(f"sign = {sign}\n")
    for name in ("model_of_mine", "helper"):
        sys.modules.pop(name, None)


def evaluate(digits: Path, *more: str) -> None:
    command = ["evaluate", "--model", "model_of_mine:Model", "--dataset", str(digits), *ATTACK]
    result = CliRunner().invoke(app, [*command, *more], catch_exceptions=False)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("edited", [("-1.0", "1.0"), ("1.0", "-1.0")], ids=["itself", "import"])
def test_rows_of_edited_code_are_not_used(
    edited: tuple[str, str], elsewhere: Path, digits: Path
) -> None:
    evaluate(digits, "--output", "mixed", "--share", "1/2")
    write(elsewhere, *edited)
    evaluate(digits, "--output", "mixed")
    evaluate(digits, "--output", "whole")
    mixed, whole = ((elsewhere / run / "rows.parquet").read_bytes() for run in ("mixed", "whole"))
    assert mixed == whole


def test_a_result_is_not_replaced_by_that_of_another_evaluation(
    elsewhere: Path, digits: Path
) -> None:
    evaluate(digits, "--output", "out")
    before = (elsewhere / "out" / "evaluation.json").read_bytes()
    with pytest.raises(UserError, match=r"result of another evaluation \(epsilon 8/255 ins"):
        evaluate(digits, "--output", "out", "--epsilon", "4/255")
    with pytest.raises(UserError, match="num_images 4 instead of 3"):
        evaluate(digits, "--output", "out", "--num-images", "3")
    write(elsewhere, "2.0", "1.0")
    with pytest.raises(UserError, match="sha256"):
        evaluate(digits, "--output", "out")
    assert (elsewhere / "out" / "evaluation.json").read_bytes() == before
    write(elsewhere, "1.0", "1.0")
    evaluate(digits, "--output", "out")
    assert read_json(elsewhere / "out" / "evaluation.json", "")["num_images"] == 4

"""Errors of the user's own code: their traceback, and one line that says whose code failed."""

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

import pyrobust
from pyrobust.cli import main
from pyrobust.errors import OwnCodeError
from pyrobust.own_code import words_of

X = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(24) % 2
ATTACK: dict[str, object] = {"norm": "linf", "epsilon": 0.1, "device": "cpu"}
TRAIN: dict[str, object] = {
    "norm": "linf", "epsilon": 0.1, "device": "cpu", "epochs": 1, "epoch_size": 16, "batch_size": 8,
    "attack_steps": 1, "validations": 1, "validation": 4, "trackers": (),
}  # fmt: skip

MODULE = """
import os, signal
import torch
from torch import nn
from pyrobust.training.objectives import Loss, Objective

def helper(values):
    {helper}

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        {init}
        self.weight = nn.Parameter(torch.linspace(-3, 3, 32).view(2, 16).sin())
    def forward(self, x):
        {forward}
        return x.flatten(1) @ self.weight.T

class Mine(Objective):
    def __init__(self, settings):
        {objective}
    def attack(self, batch, passes):
        return batch.x
    def loss(self, batch, x_adv, passes):
        {loss}
        return Loss.of(passes.logits(x_adv, tracked=True).square().mean())

{top}
"""
PARTS = ("helper", "init", "forward", "objective", "loss", "top")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with six images of two classes, in which commands run."""
    for number in range(6):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), 40 * number, np.uint8)).save(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    yield tmp_path
    sys.modules.pop("code_of_mine", None)


def write(folder: Path, **parts: str) -> None:
    text = MODULE
    for part in PARTS:
        text = text.replace(f"{{{part}}}", parts.get(part, "pass"))
    (folder / "code_of_mine.py").write_text(text)


def evaluate(monkeypatch: pytest.MonkeyPatch) -> int:
    words = "evaluate --model code_of_mine:Model --images images --norm linf --epsilon 8/255"
    monkeypatch.setattr(sys, "argv", ["pyrobust", *words.split(), "--output", "out"])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            {"forward": "helper(x)"},
            "code_of_mine:Model fails on .* with KeyError in line 8",
        ),
        ({"init": "helper(3)"}, "code_of_mine:Model cannot be called .KeyError: 'mask'."),
        ({"top": "helper(3)"}, "cannot import constructor code_of_mine:Model .KeyError"),
    ],
)
def test_the_command_line_shows_the_users_traceback_and_one_line(
    parts: dict[str, str],
    said: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(folder, helper="return {}['mask']", **parts)
    assert evaluate(monkeypatch) == 2
    error = capsys.readouterr().err
    assert re.search(rf"^pyrobust: {said}", error, re.M), error
    files = re.findall('File "(.*?)", line ([0-9]+)', error)
    assert files[0][0] == files[-1][0] == str(folder / "code_of_mine.py"), error
    assert files[-1][1] == "8" and not any("/pyrobust/" in file for file, _ in files), error


@pytest.mark.parametrize(
    ("file", "own"),
    [
        ("<string>", False),
        ("<eval_with_key>.0", False),
        ("/home/me/.local/lib/python3.12/site-packages/timm/models.py", False),
        ("/usr/lib/python3/dist-packages/numpy/core.py", False),
        ("<stdin>", True),
        ("<ipython-input-3-1f>", True),
        ("/home/me/nets.py", True),
    ],
)
def test_installed_and_generated_code_is_not_the_users(file: str, own: bool) -> None:
    code = compile("raise ValueError('no')", file, "exec")
    with pytest.raises(ValueError, match="no") as raised:
        exec(code)
    assert (f"in line 1 of {file}" in words_of(raised.value)) is own


def test_a_signal_is_no_error_of_the_users_code(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, forward="os.kill(os.getpid(), signal.SIGTERM)")
    assert evaluate(monkeypatch) == 75
    assert "stopped by SIGTERM; the same command resumes" in capsys.readouterr().err


def test_a_second_signal_changes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse_twice(*values: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        refuse(*values)

    refuse = pyrobust.cli._refuse
    monkeypatch.setattr("pyrobust.cli._refuse", refuse_twice)
    write(folder, forward="os.kill(os.getpid(), signal.SIGTERM)")
    assert evaluate(monkeypatch) == 75


@pytest.mark.parametrize("part", ["objective", "loss"])
def test_an_objective_that_fails_is_named(part: str, folder: Path) -> None:
    write(folder, helper="return values.no_such", **{part: "helper(3)"})
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    said = "code_of_mine:Mine fails with AttributeError in line 8 of .*no_such"
    with pytest.raises(OwnCodeError, match=said) as refused:
        pyrobust.train(network, X, Y, objective="code_of_mine:Mine", **TRAIN)
    assert isinstance(refused.value.__cause__, AttributeError)


class Rows:
    """A data set whose fourth item fails."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        if row == 3:
            raise OSError(5, "the server is gone")
        return X[row], int(Y[row])


@pytest.mark.parametrize("workers", [None, 0, 1])
def test_a_data_set_that_fails_is_named(workers: int | None) -> None:
    images = Rows() if workers is None else DataLoader(Rows(), num_workers=workers)  # type: ignore[arg-type]
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    said = f"the {type(images).__name__} of the images fails with OSError.*the server is gone"
    with pytest.raises(OwnCodeError, match=said):
        pyrobust.evaluate(network, images, **ATTACK)

"""Odd folders for results: a sentence where none can be made, and one evaluation at a time."""

import fcntl
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pyrobust.errors import UserError
from pyrobust.evaluation.labelled_images import LabelledImages
from pyrobust.files import exclusive
from tests.boundaries.oracle import run

MODEL = """
import torch
from torch import nn
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-3, 3, 96).view(2, 48).sin())
    def forward(self, x):
        return x.flatten(1) @ self.weight.T
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a model and four images of two classes."""
    for number in range(4):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), 40 * number, np.uint8)).save(path)
    (tmp_path / "odd_output_model.py").write_text(MODEL)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    sys.modules.pop("odd_output_model", None)


def evaluate(folder: Path, output: str) -> str | None:
    return run(
        folder, "evaluate", "--model", "odd_output_model:Model", "--images", "images", "--norm",
        "linf", "--epsilon", "8/255", "--attack", "pgd40", "--pass-size", 4, "--output", output,
    )  # fmt: skip


@pytest.mark.parametrize("output", ["dangling/out", "x" * 300, "images/a/0.png/out"])
def test_folders_that_cannot_be_made_are_refused(folder: Path, output: str) -> None:
    (folder / "dangling").symlink_to("nowhere/at/all")
    why = evaluate(folder, output)
    assert why is not None and ("cannot write" in why or "name too long" in why)


@pytest.mark.parametrize("output", ["a", "../a", "link"])
def test_an_output_that_is_also_an_input_is_refused(output: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "manifest.json").write_text("{}")
    (tmp_path / "link").symlink_to("a")
    output = output.replace("..", f"../{tmp_path.name}")
    mix = ("mix", "--first", "a", "--second", "b", "--share", 0.5, "--num-samples", 4)
    why = run(tmp_path, *mix, "--output", output)
    assert why is not None and "which is also first: name another one" in why


@pytest.mark.parametrize(
    ("verb", "option"),
    [
        (("choose", "--runs", "b"), "runs"),
        (("features", "--extractor", "inception"), "store"),
        (("train", "--dataset", "b"), "samples"),
        (("fit-generator",), "dataset"),
        (("evaluate", "--model", "m", "--norm", "linf", "--epsilon", "8/255"), "samples"),
    ],
)
def test_every_verb_refuses_an_output_that_is_an_input(
    verb: tuple[str, ...], option: str, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    why = run(tmp_path, *verb, f"--{option}", "a", "--output", "a")
    assert why is not None and f"which is also {option}: name another one" in why


def test_a_folder_that_always_vanishes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot write"), exclusive(Path("/proc/none")):
        pass


def test_the_folder_is_held_before_images_are_opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second evaluation would lose its images when the first removes its state."""
    held, of_folder = [], LabelledImages.of_folder

    def opening(*args: Any) -> LabelledImages:
        with (folder / "out" / ".lock").open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held.append(True)
        return of_folder(*args)

    monkeypatch.setattr(LabelledImages, "of_folder", opening)
    assert evaluate(folder, "out") is None and held == [True]

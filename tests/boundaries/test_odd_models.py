"""Odd models through `pyrobust evaluate`: the rows of their plain twin, or one sentence."""

import itertools
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.boundaries.oracle import run

MODULE = """
import collections, dataclasses, torch
from torch import nn
Named = collections.namedtuple("Named", ["features", "logits"])
class Model(nn.Module):
    def __init__(self{arguments}):
        super().__init__()
        weight = torch.linspace(-3, 3, 96).view(2, 48).sin()
        self.weight = nn.Parameter(weight.to({dtype}))
    def forward(self, x):
        {before}
        logits = x.flatten(1) @ self.weight.T
        return {answer}
"""
PLAIN = {"arguments": "", "dtype": "torch.float32", "before": "pass", "answer": "logits"}
GOOD = {
    "arguments": ["", ", num_classes=2", ", *args, **kwargs", ", depth=28"],
    "dtype": ["torch.float32", "torch.float64"],
    "before": ["pass", "x = x.sub_(0.25).add_(0.25)", "assert not self.training"],
    "answer": [
        "logits",
        "(logits,)",
        "(x.flatten(1), logits)",
        "{'logits': logits, 'loss': None}",
        "Named(logits + 1, logits)",
        "logits.squeeze()",
        "logits[:, :, None, None]",
    ],
}
BAD = {
    "arguments": [", depth", ", *, width"],
    "before": ["raise KeyError('mask')", "x = x[:, :, :3]", "x = self.absent(x)"],
    "answer": ["None", "logits.argmax(1)", "(logits, logits + 1)", "logits[:, :1]", "'text'"],
}
numbers = itertools.count()


@st.composite
def models(draw: st.DrawFn) -> tuple[dict[str, str], bool]:
    """Draw the text of a model, and whether it can be evaluated."""
    model = {part: draw(st.sampled_from(texts)) for part, texts in GOOD.items()}
    bad = draw(st.sampled_from([None, None, None, *BAD]))
    if bad is not None:
        model[bad] = draw(st.sampled_from(BAD[bad]))
    return model, bad is None


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder with six images of two classes."""
    with tempfile.TemporaryDirectory() as name:
        rng = np.random.default_rng(0)
        for number in range(6):
            path = Path(name) / "images" / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).save(path)
        yield Path(name)


def evaluate(
    folder: Path, parts: dict[str, str], *more: object
) -> tuple[str | None, list[list[Any]]]:
    """Return why a model is refused, and the predictions on each image else."""
    module, output = f"odd_model_{next(numbers)}", f"out{next(numbers)}"
    text = MODULE
    for part, value in parts.items():
        text = text.replace(f"{{{part}}}", value)
    (folder / f"{module}.py").write_text(text)
    options: list[object] = ["--norm", "linf", "--epsilon", "8/255", "--output", output]
    for attack in ("apgd-ce", "apgd-dlr", "multitargeted"):
        options += [f"--{attack}-steps", 1, f"--{attack}-restarts", 1]
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path.insert(0, str(folder))
    try:
        model = ("--model", f"{module}:Model", "--images", "images")
        why = run(folder, "evaluate", *model, *options, *more)
    finally:
        sys.path.remove(str(folder))
        sys.dont_write_bytecode = before
    if why is not None:
        return why, []
    rows = pq.read_table(folder / output / "rows.parquet").to_pydict()
    return None, [rows["clean_prediction"], rows["clean_correct"], rows["broken_by"]]


@settings(max_examples=12)
@given(drawn=models(), pass_size=st.sampled_from([1, 2, 128]))
def test_odd_models_are_their_plain_twin_or_refused(
    drawn: tuple[dict[str, str], bool], pass_size: int, folder: Path
) -> None:
    parts, is_good = drawn
    why, rows = evaluate(folder, parts, "--pass-size", pass_size)
    assert (why is None) == is_good, why
    if is_good:
        assert (None, rows) == evaluate(folder, PLAIN)


@pytest.mark.parametrize("count", [1, 2])
def test_as_few_images_as_there_can_be(count: int, folder: Path) -> None:
    few, all_of_them = (
        evaluate(folder, PLAIN, "--num-images", number, "--pass-size", 1) for number in (count, 6)
    )
    assert few == (None, [column[:count] for column in all_of_them[1]])


@pytest.mark.parametrize(
    "answer", ["logits * torch.nan", "logits / 0", "torch.where(x.flatten(1)[:, :1] * 255 % 1 > "
               "0.001, torch.nan, logits)"],
    ids=["always", "infinite", "in the ball"],
)  # fmt: skip
def test_logits_that_are_not_finite_are_not_robust(answer: str, folder: Path) -> None:
    why, (clean, right, broken) = evaluate(folder, {**PLAIN, "answer": answer})
    assert why is None
    if "where" in answer:
        assert any(right) and [by is not None for by in broken] == right
    else:
        assert clean == [-1] * 6 and not any(right)

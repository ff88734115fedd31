"""Odd arguments, and odd files of earlier results, in Python: used, or one sentence."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import pyrobust
from pyrobust.config import parse_settings
from pyrobust.config.evaluation import ThreatSettings
from pyrobust.errors import UserError
from pyrobust.evaluation.describe import read_result
from pyrobust.models import ModelSpec, build_model, save_model

X = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(6) % 3
NETWORK = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
EVALUATION: dict[str, Any] = {
    "norm": "linf", "epsilon": 0.01, "attack": "pgd40", "device": "cpu", "pass_size": 8,
}  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"until_width": "5"}, "until_width is '5', expected percentage points"),
        ({"until_width": 101}, "until_width is 101, .* above 0 and at most 100"),
        ({"until_width": True}, "until_width is True"),
        ({"budget": True}, "budget is True, expected a duration"),
        ({"budget": [1]}, "budget is .1., expected a duration"),
        ({"transcript": "."}, "the transcript . is a folder"),
        ({"images": X.to_sparse()}, "images are sparse, nested or without values"),
        ({"images": X.to("meta")}, "images are sparse, nested or without values"),
    ],
)
def test_an_argument_of_another_kind_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        pyrobust.evaluate(NETWORK, **{"images": X, "labels": Y, **EVALUATION, **arguments})


@pytest.mark.parametrize("of_ours", [True, False])
def test_a_transcript_does_not_replace_a_model(of_ours: bool, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    spec = ModelSpec("wrn-10-1", "silu", 3, (8, 8, 1), (0.3,), (0.3,))
    if of_ours:
        save_model(path, build_model(spec), spec)
    else:
        save_file({"weight": torch.ones(2)}, path)
    before = path.read_bytes()
    with pytest.raises(UserError, match="would replace another kind of file"):
        pyrobust.evaluate(NETWORK, X, Y, **EVALUATION, transcript=path)
    assert path.read_bytes() == before


def test_a_transcript_replaces_an_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "transcript.safetensors"
    for _ in range(2):
        pyrobust.evaluate(NETWORK, X, Y, **EVALUATION, transcript=path)
    assert path.is_file()


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("touch hacked",)


@pytest.mark.parametrize("content", [pickle.dumps(Evil()), pickle.dumps(Evil(), 0)])
def test_points_that_would_run_code_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(UserError, match="without running its code") as refused:
        pyrobust.verify(tmp_path / "a.pt", NETWORK, X, Y, norm="linf", epsilon=0.1, device="cpu")
    assert "weights_only" not in str(refused.value)  # no advice to run it


@pytest.mark.parametrize("claimed", ["0.5", 55.0, float("nan"), True])
def test_a_claim_is_a_share(claimed: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X.numpy())
    (tmp_path / "a.npy").rename(tmp_path / "a.NPY")
    arguments: dict[str, Any] = {"norm": "linf", "epsilon": 0.1, "device": "cpu"}
    assert pyrobust.verify(tmp_path / "a.NPY", NETWORK, X, Y, **arguments, claimed=None).holds
    with pytest.raises(UserError, match=r"claimed is .*, expected a robust accuracy in"):
        pyrobust.verify(tmp_path / "a.NPY", NETWORK, X, Y, **arguments, claimed=claimed)


@pytest.mark.parametrize(
    ("written", "radius"), [("1e-3", "0.001"), (1e-5, "0.00001"), ("2.5E-1", "0.25"), (1, "1")]
)
def test_a_radius_is_read_in_any_notation(written: str | float, radius: str) -> None:
    assert parse_settings(ThreatSettings, {"norm": "linf", "epsilon": written}).epsilon == radius


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> pyrobust.EvaluationResult:
    return pyrobust.evaluate(NETWORK, X, Y, **EVALUATION)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("evaluation.json", b"{}"),
        ("evaluation.json", b"[]"),
        ("evaluation.json", b'{"settings": 3}'),
        ("rows.parquet", b"x"),
        ("rows.parquet", None),
        ("adversarial.npy", b"x"),
        ("cost.json", b""),
    ],
)
def test_a_damaged_result_is_named(
    result: pyrobust.EvaluationResult, name: str, content: bytes | None, tmp_path: Path
) -> None:
    result.save(tmp_path)
    assert pyrobust.EvaluationResult.load(tmp_path).summary == result.summary
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=name):
        pyrobust.EvaluationResult.load(tmp_path)
    if name == "evaluation.json":
        with pytest.raises(UserError, match=name):
            pyrobust.evaluate(NETWORK, X, Y, output=tmp_path, **EVALUATION)


@pytest.mark.parametrize("key", ["stages", "subject", "checks"])
def test_a_result_without_a_part_is_named(
    result: pyrobust.EvaluationResult, key: str, tmp_path: Path
) -> None:
    result.save(tmp_path)
    rest = {name: value for name, value in result.summary.items() if name != key}
    (tmp_path / "evaluation.json").write_text(json.dumps(rest))
    for use in (pyrobust.EvaluationResult.load, read_result):
        with pytest.raises(UserError, match=f"evaluation.json is damaged .*{key}"):
            use(tmp_path)

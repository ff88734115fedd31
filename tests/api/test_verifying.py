"""Five lines of Python verify an evaluation."""

from pathlib import Path

import numpy as np
import pytest
import torch

import pyrobust
from tests.api.conftest import Classified

QUICK = {"attack": "pgd40", "norm": "linf", "epsilon": "4/255"}


@pytest.fixture(scope="module")
def result(classified: Classified) -> pyrobust.EvaluationResult:
    """Return an evaluation of the network."""
    return pyrobust.evaluate(*classified, **QUICK)  # type: ignore[arg-type]


def test_a_result_writes_the_transcript_that_a_call_writes(
    classified: Classified, result: pyrobust.EvaluationResult, tmp_path: Path
) -> None:
    one = result.transcript(tmp_path / "one.safetensors")
    two = tmp_path / "two.safetensors"
    pyrobust.evaluate(*classified, **QUICK, transcript=two)  # type: ignore[arg-type]
    assert one.read_bytes() == two.read_bytes()
    found = pyrobust.verify(one, *classified)
    assert found.holds
    assert found.robust_accuracy == result.robust_accuracy < result.clean_accuracy
    assert found.clean_accuracy == result.clean_accuracy


def test_another_network_does_not_verify(
    classified: Classified, result: pyrobust.EvaluationResult, tmp_path: Path
) -> None:
    network, images, labels = classified
    file = result.transcript(tmp_path / "t.safetensors")
    found = pyrobust.verify(file, torch.nn.Sequential(network, torch.nn.Identity()), images, labels)
    assert not found.holds
    assert found.problems[0].startswith("another model")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(pyrobust.TranscriptError, match="is not a complete safetensors file"):
        pyrobust.verify(file, network, images, labels)


def test_adversarial_images_of_others_are_verified(
    classified: Classified, result: pyrobust.EvaluationResult, tmp_path: Path
) -> None:
    np.save(tmp_path / "points.npy", result.adversarial.numpy())
    claimed = result.robust_accuracy
    found = pyrobust.verify(
        tmp_path / "points.npy", *classified, norm="linf", epsilon=4 / 255, claimed=claimed
    )
    assert found.robust_accuracy == claimed
    assert found.holds


def test_a_loaded_result_has_no_model_to_write_about(
    result: pyrobust.EvaluationResult, tmp_path: Path
) -> None:
    result.save(tmp_path / "out")
    loaded = pyrobust.EvaluationResult.load(tmp_path / "out")
    assert loaded.rows.equals(result.rows)
    with pytest.raises(pyrobust.UserError, match="evaluate again with transcript=FILE"):
        loaded.transcript(tmp_path / "t.safetensors")
    with pytest.raises(pyrobust.UserError, match=r"use a name that ends in \.safetensors"):
        result.transcript(tmp_path / "t.npy")

"""The verb `info` on generators and labellers."""

import shutil

import pytest

from pyrobust.data.describe import describe
from pyrobust.errors import UserError


def test_a_generator_is_described_in_lines(gaussian):
    lines = list(describe(gaussian, verify=True))
    assert lines[0] == "generator of type gaussian, fitted on animals"
    assert "part_size: 1000" in lines
    assert lines[-1] == "every file matches its SHA-256"


def test_a_flipped_weight_is_named(gaussian, tmp_path):
    folder = tmp_path / "generator"
    shutil.copytree(gaussian, folder)
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(UserError, match=r"weights\.safetensors is missing or does not match"):
        list(describe(folder, verify=True))


def test_a_model_is_described_in_lines(labeller):
    lines = list(describe(labeller, verify=False))
    assert lines[0].startswith("model: ")
    assert "architecture: wrn-10-1" in lines
    assert "num_classes: 3" in lines

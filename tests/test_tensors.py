"""Tensors on the disk."""

import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pyrobust.errors import UserError
from pyrobust.generators import weights
from pyrobust.models import ModelSpec, build_model
from pyrobust.models.checkpoints import write_checkpoint
from pyrobust.tensors import read_tensors, write_tensors


def write_classifier(path: Path) -> None:
    spec = ModelSpec("wrn-10-1", "silu", 10, (8, 8, 1), (0.5,), (0.5,))
    torch.manual_seed(0)
    write_checkpoint(path, build_model(spec), spec)


WRITERS: list[Callable[[Path], Any]] = [
    lambda path: write_tensors(path, {"a": torch.zeros(1000)}, {}),
    lambda path: weights.write_tensors(path, {"a": np.zeros(1000)}),
    write_classifier,
]


def test_tied_weights_are_written_once_each(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    tensors = {"a": shared, "b": shared, "c": shared[2:]}
    write_tensors(tmp_path / "tied.safetensors", tensors, {})
    found, _ = read_tensors(tmp_path / "tied.safetensors", "")
    assert all(torch.equal(found[name], value) for name, value in tensors.items())


@pytest.mark.parametrize("write", WRITERS)
def test_the_file_is_as_readable_as_any_other(write: Callable[[Path], Any], tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    write(tmp_path / "a.safetensors")
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


@pytest.mark.parametrize("write", WRITERS)
def test_every_process_writes_the_same_bytes_under_any_name(
    write: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.safetensors")
    monkeypatch.setattr(os, "getpid", lambda: 12345)
    write(tmp_path / "b.safetensors")
    one, two = (path.read_bytes() for path in tmp_path.iterdir())
    assert one == two


@pytest.mark.parametrize("write", WRITERS)
def test_a_file_that_may_not_grow_is_refused_in_a_sentence(
    write: Callable[[Path], Any], tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(UserError, match=r"cannot write .*a\.safetensors: the disk is full, or"):
            write(tmp_path / "a.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_mapped_arrays_are_those_written_and_the_file_stays(tmp_path: Path) -> None:
    arrays = {"b": np.arange(6.0).reshape(2, 3), "a": np.uint8([1, 2]), "s": np.array(3)}
    path = tmp_path / "a.safetensors"
    sha256 = weights.write_tensors(path, arrays, {"x": 1})
    found = weights.map_tensors(path, sha256, "")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
    found["b"][:] = 0
    assert weights.map_tensors(path, sha256, "")["b"][1, 2] == 5
    assert weights.read_facts(path) == {"x": 1}

"""Tensors on the disk."""

from pathlib import Path

import torch

from pyrobust.tensors import read_tensors, write_tensors


def test_tied_weights_are_written_once_each(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    tensors = {"a": shared, "b": shared, "c": shared[2:]}
    write_tensors(tmp_path / "tied.safetensors", tensors, {})
    found, _ = read_tensors(tmp_path / "tied.safetensors", "")
    assert all(torch.equal(found[name], value) for name, value in tensors.items())

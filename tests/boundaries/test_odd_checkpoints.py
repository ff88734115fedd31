"""Odd checkpoints through `pyrobust convert`: the weights of their plain twin, or one sentence."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pyrobust.models import ModelSpec, build_model, load_model
from tests.boundaries.oracle import run

SPEC = ModelSpec("wrn-10-1", "silu", 3, (32, 32, 3), (0.5,) * 3, (0.25,) * 3)
with torch.random.fork_rng():
    torch.manual_seed(0)
    STATE = build_model(SPEC).state_dict()

PREFIXES = ("", "module.", "net.", "model.", "_orig_mod.", "0.", "module.model.", "a.b.c.")
NESTS = ("state_dict", "model", "net", "ema", "weights", 0, "a.b")
BESIDE: dict[str, Any] = {
    "epoch": 3,
    "best": np.float64(0.5),
    "history": np.arange(4.0),
    "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": []},
    "n_averaged": torch.tensor(3),
    "args": {"lr": 0.1, 5: None},
    "rng": torch.zeros(8, dtype=torch.uint8),
}


@st.composite
def contents(draw: st.DrawFn) -> tuple[Any, bool]:
    """Draw what a file holds, and whether it is one network's weights."""
    state: dict[Any, Any] = dict(STATE)
    damage = draw(st.sampled_from([None] * 8 + ["a key less", "a key more", "another shape"]))
    if draw(st.booleans()):
        state = {key: value for key, value in state.items() if "num_batches" not in key}
    if draw(st.sampled_from([False, False, True])):
        state = {key: value.double() for key, value in state.items()}
    match damage:
        case "a key less":
            del state["init_conv.weight"]
        case "a key more":
            state["head.weight"] = torch.zeros(3)
        case "another shape":
            state["logits.bias"] = torch.zeros(7)
    prefix = draw(st.sampled_from(PREFIXES))
    content: dict[Any, Any] = {f"{prefix}{key}": value for key, value in state.items()}
    if draw(st.booleans()):
        content |= {"mean": torch.full((3, 1, 1), 0.5), "std": torch.full((3, 1, 1), 0.25)}
    for name in draw(st.lists(st.sampled_from(NESTS), max_size=3)):
        beside = draw(st.lists(st.sampled_from(sorted(BESIDE)), max_size=2, unique=True))
        content = {name: content, **{key: BESIDE[key] for key in beside}}
    return content, damage is None


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@settings(max_examples=40)
@given(drawn=contents(), is_legacy=st.booleans())
def test_odd_checkpoints_are_their_plain_twin_or_refused(
    drawn: tuple[Any, bool], is_legacy: bool
) -> None:
    content, is_whole = drawn
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.save(content, folder / "in.pt", _use_new_zipfile_serialization=not is_legacy)
        stated = ("--mean", "0.5", "--std", "0.25")
        why = run(folder, "convert", "in.pt", "out.safetensors", *stated)
        assert (why is None) == is_whole, why
        if is_whole:
            model, spec = load_model(folder / "out.safetensors")
            assert spec == SPEC
            assert same(model.state_dict(), STATE)

"""Every fact of a model has one owner; a second, different statement is refused by name."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pyrobust.errors import UserError
from pyrobust.models import ModelSpec, build_model, save_model
from pyrobust.models.checkpoints import read_checkpoint, write_checkpoint
from pyrobust.models.convert import Statements, convert_checkpoint, load_classifier
from pyrobust.models.files import load_strictly, needed_keys
from pyrobust.models.published import PUBLISHED
from pyrobust.models.spec import agreed, stated_normalization

SPECS = {
    "relu": ModelSpec("wrn-10-1", "relu", 10, (8, 8, 3), (0.5,) * 3, (0.25,) * 3),
    "grey, 7×9": ModelSpec("wrn-10-1", "silu", 4, (7, 9, 1), (0.3,), (0.4,)),
    "resnet": ModelSpec("resnet-18", "silu", 3, (8, 8, 3), (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)),
}
SPEC = SPECS["relu"]


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_model_comes_back_from_the_published_format_as_it_was(
    spec: ModelSpec, tmp_path: Path
) -> None:
    save_model(tmp_path / "a.safetensors", build_model(spec), spec)
    convert_checkpoint(str(tmp_path / "a.safetensors"), tmp_path / "b.pt", Statements(), tmp_path)
    convert_checkpoint(str(tmp_path / "b.pt"), tmp_path / "c.safetensors", Statements(), tmp_path)
    assert (tmp_path / "c.safetensors").read_bytes() == (tmp_path / "a.safetensors").read_bytes()
    # As RobustBench loads it.
    build_model(spec).load_state_dict(torch.load(tmp_path / "b.pt", weights_only=True))


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        (
            Statements(mean=(0.4,), std=(0.25,)),
            r"the normalisation is mean [\d.,]+ and std .*, but mean 0\.4,0\.4,0\.4 and std 0\.25,",
        ),
        (Statements(dataset="cifar10"), "the normalisation is .* according to the user"),
        (
            Statements(activation="silu"),
            "the activation is relu .*, but silu according to the user",
        ),
        (
            Statements(image_size=(32, 32)),
            r"the image size is \(8, 8\) .*, but \(32, 32\) according to the user",
        ),
        (Statements(mean=(0.5,)), "mean is given without std"),
        (Statements(dataset="mnist"), "no published normalisation is known for 'mnist'"),
    ],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_second_statement_must_agree(
    stated: Statements, message: str, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"model{suffix}"
    if suffix == ".pt":
        write_checkpoint(path, build_model(SPEC), SPEC)
    else:
        save_model(path, build_model(SPEC), SPEC)
    with pytest.raises(UserError, match=message):
        load_classifier(path, stated)
    same = Statements(activation="relu", image_size=(8, 8), mean=(0.5,), std=(0.25, 0.25, 0.25))
    assert load_classifier(path, same)[1] == SPEC


def test_a_published_name_states_the_model(tmp_path: Path) -> None:
    path = tmp_path / f"{next(iter(PUBLISHED))}.pt"
    torch.save(build_model(SPEC).state_dict(), path)
    with pytest.raises(
        UserError,
        match=r"the architecture is wrn-10-1 .*, but wrn-28-10 according to the publisher of",
    ):
        load_classifier(path, Statements())


def test_what_nobody_states_is_assumed_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(build_model(SPEC).state_dict(), tmp_path / "model.pt")
    _, spec = load_classifier(tmp_path / "model.pt", Statements(), "cifar10", (7, 9))
    assert (spec.activation, spec.image_shape) == ("silu", (7, 9, 3))
    assert "assuming activation silu and mean (0.4914, " in caplog.text


def test_one_number_is_for_all_channels() -> None:
    assert stated_normalization((0.5,), (0.1, 0.2), 2) == ((0.5, 0.5), (0.1, 0.2))
    assert stated_normalization((), (), 3) is None
    with pytest.raises(UserError, match="std is given without mean"):
        stated_normalization((), (0.5,), 3)
    with pytest.raises(UserError, match="finite"):
        stated_normalization((float("nan"),), (0.5,), 3)


def test_rounded_numbers_are_the_same_statement() -> None:
    assert agreed("x", {"a": (0.1, 0.2), "b": None, "c": (0.1000001, 0.2)}) == (0.1, 0.2)
    with pytest.raises(UserError, match="the x is 1 according to a, but 2 according to c"):
        agreed("x", {"a": 1, "b": None, "c": 2})


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{key}": value for key, value in state.items()}


class Wrapped(nn.Module):
    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


NETWORK = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 4))
STATE = NETWORK.state_dict()
AVERAGED = torch.optim.swa_utils.AveragedModel(NETWORK).state_dict()
OTHER = {key: value + 1 for key, value in STATE.items()}

WRAPPINGS: dict[str, object] = {
    "bare": STATE,
    "net": prefixed(STATE, "net."),
    "model": prefixed(STATE, "model."),
    "compiled": prefixed(STATE, "_orig_mod."),
    "compiled inside": {f"0._orig_mod{k[1:]}" if k[0] == "0" else k: v for k, v in STATE.items()},
    "compiled in parallel": prefixed(STATE, "module._orig_mod."),
    "averaged": AVERAGED,
    "Lightning": {"state_dict": prefixed(STATE, "model."), "epoch": 3, "callbacks": {1: {"a": 2}}},
    "beside an optimizer": {
        "model": STATE,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]},
    },
    "deep": {"a": {"b": {"c": STATE}}},
    "beside numbers": {**STATE, "best": 0.5, 7: "seven", None: None},
    "two names of one": {**prefixed(STATE, "model."), **prefixed(STATE, "net.")},
    "before averaging": {
        "model_state_dict": STATE,
        "unaveraged_model_state_dict": OTHER,
    },
    "old": {key: value for key, value in STATE.items() if "num_batches" not in key},
    "half": {key: v.half() if v.is_floating_point() else v for key, v in STATE.items()},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_weights_are_found_behind_any_prefix(wrapping: str, tmp_path: Path) -> None:
    torch.save(WRAPPINGS[wrapping], tmp_path / "weights.pt")
    checkpoint = read_checkpoint(tmp_path / "weights.pt")
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 4))
    state = checkpoint.state_with(needed_keys(network.state_dict()))
    load_strictly(network, state, "it")
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, STATE[key], rtol=1e-3, atol=1e-3)


REFUSED: dict[str, tuple[object, str]] = {
    "nothing": ({}, r"weights\.pt contains no state dict \(found a dictionary of \[\]\); save"),
    "an empty one": (
        {"state_dict": {}},
        r"weights\.pt contains no state dict \(found a dictionary of",
    ),
    "a number": (3, r"weights\.pt contains no state dict \(found int\); save tensors by name with"),
    "a tensor": (
        torch.zeros(3),
        r"weights\.pt contains no state dict \(found Tensor\); save tensors by name",
    ),
    "whole numbers as keys": ({0: torch.zeros(2), 1: torch.zeros(2)}, "missing: 0.weight"),
    "mixed keys": ({0: torch.zeros(2), "a": torch.zeros(2)}, "missing: 0.weight"),
    "one key twice": (
        {0: torch.zeros(2), "0": torch.zeros(2)},
        r"weights\.pt contains two tensors named 0; expected a state dict",
    ),
    "two networks": (
        {"model": STATE, "ema": OTHER},
        "several networks, under 'model/' and 'ema/'",
    ),
    "a bigger one": ({**STATE, "4.weight": torch.zeros(2)}, "unexpected: 4.weight"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_what_holds_no_weights_or_too_many_is_one_sentence(
    content: object, message: str, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=message):
        state = read_checkpoint(tmp_path / "weights.pt").state_with(needed_keys(STATE))
        load_strictly(NETWORK, state, "it")


def test_a_dictionary_that_holds_itself_ends(tmp_path: Path) -> None:
    endless: dict[str, object] = {}
    endless["self"] = endless
    torch.save(endless, tmp_path / "weights.pt")
    with pytest.raises(
        UserError,
        match=r"weights\.pt contains no state dict \(found a dictionary of \['self'\]\); save",
    ):
        read_checkpoint(tmp_path / "weights.pt")


def test_numpy_numbers_beside_the_weights_are_read(tmp_path: Path) -> None:
    import numpy as np

    best = {"accuracy": np.float64(0.5), "losses": np.arange(3.0), "flag": np.bool_(True)}
    torch.save({"state_dict": STATE, **best}, tmp_path / "weights.pt")
    checkpoint = read_checkpoint(tmp_path / "weights.pt")
    assert checkpoint.state_with(needed_keys(STATE)).keys() == STATE.keys()


def test_a_whole_module_is_refused_by_the_name_of_its_class(tmp_path: Path) -> None:
    torch.save({"net": Wrapped(part=NETWORK)}, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=r"Wrapped and cannot be read .* --model MODULE:NAME"):
        read_checkpoint(tmp_path / "weights.pt")


@pytest.mark.parametrize("place", ["", "module.", "normalize."])
def test_a_normalisation_beside_the_weights_is_found(place: str, tmp_path: Path) -> None:
    model = build_model(SPEC)
    key = "module." if place == "module." else "1." if place else ""
    buffers = {f"{place}mean": torch.full((3, 1, 1), 0.4), f"{place}std": torch.full((3,), 0.2)}
    torch.save({**buffers, **prefixed(model.state_dict(), key)}, tmp_path / "weights.pt")
    spec = load_classifier(tmp_path / "weights.pt", Statements())[1]
    assert spec.normalization == ((0.4,) * 3, (0.2,) * 3)
    with pytest.raises(UserError, match=re.escape("the weights in") + ".*according to the user"):
        load_classifier(tmp_path / "weights.pt", Statements(mean=(0.5,), std=(0.5,)))


def test_a_specification_that_fits_no_weights_is_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "m.pt", build_model(SPEC), replace(SPEC, num_classes=7))
    with pytest.raises(UserError, match=r"number of classes is 7 .* but 10 according to"):
        load_classifier(tmp_path / "m.pt", Statements())

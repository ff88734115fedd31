"""Weights on disk: safetensors with the spec in the metadata."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from pyrobust.errors import UserError
from pyrobust.models.build import build_model
from pyrobust.models.imported import build_imported
from pyrobust.models.layers import ImageClassifier
from pyrobust.models.spec import ModelSpec
from pyrobust.tensors import read_tensors, write_tensors

# A classifier in the folder of its training, of a choice among several, or of a labeller.
WEIGHTS = "model.safetensors"

# Counts batches for momentum=None only; PyTorch, too, loads files from before it existed.
_OPTIONAL = "num_batches_tracked"

_FORMAT = {"format": "pyrobust-model", "version": 1}


def save_model(path: Path, model: nn.Module | Mapping[str, Tensor], spec: ModelSpec) -> None:
    """Write the weights atomically; equal weights give equal bytes.

    Args:
        model: a network, or its state dict in the published layout.
    """
    state = model.state_dict() if isinstance(model, nn.Module) else model
    write_tensors(path, state, {**_FORMAT, "spec": spec.to_json()})


def load_model(
    path: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    network: nn.Module | None = None,
) -> tuple[ImageClassifier, ModelSpec]:
    """Read a model that `save_model` wrote; it is in evaluation mode.

    Args:
        network: takes the weights of a file whose network was given in Python.

    Raises:
        UserError: the file is missing, no model of this project, or its keys do not fit its spec.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"{path} is missing; run 'pyrobust train' or 'pyrobust convert' to write it"
        )
    state, facts = read_tensors(path, f"'pyrobust convert IN {path.name}' makes it from a .pt file")
    found = {key: facts.get(key) for key in _FORMAT}
    if found != _FORMAT:
        raise UserError(
            f"{path} contains {found}, but {_FORMAT} is required; run 'pyrobust convert' to "
            "write it"
        )
    spec = ModelSpec.from_json(facts.get("spec", {}))
    model = build_model(spec) if network is None else build_imported(spec, network)
    load_strictly(model, state, str(path))
    return model.to(device), spec


def read_spec(path: Path) -> ModelSpec | None:
    """Return the specification in a file that `save_model` wrote; None for any other file."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get("pyrobust", "{}"))
    except (SafetensorError, OSError, ValueError):
        return None
    is_model = isinstance(facts, dict) and {k: facts.get(k) for k in _FORMAT} == _FORMAT
    return ModelSpec.from_json(facts["spec"]) if is_model else None


def sha256_of_state(module: nn.Module) -> str:
    """Return a digest of the names, shapes, types and values of all weights and buffers."""
    digest = hashlib.sha256()
    for key, value in _flat(module.state_dict()):
        if not isinstance(value, Tensor):  # of quantised layers, or `get_extra_state`
            digest.update(f"{key} {value!r}\n".encode())
            continue
        plain = value.detach().cpu()
        plain = plain.dequantize() if plain.is_quantized else plain
        held = plain.contiguous().reshape(-1).view(torch.uint8).numpy()
        digest.update(f"{key} {tuple(value.shape)} {value.dtype}\n".encode() + held.tobytes())
    return digest.hexdigest()


def _flat(state: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the values of a state dict, those of tuples one by one."""
    for key, value in state.items():
        if isinstance(value, tuple):
            yield from _flat({f"{key}.{number}": part for number, part in enumerate(value)})
        else:
            yield key, value


def load_strictly(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy `state` into `model`.

    Only counters of batches may be missing, as in files from before PyTorch kept them.

    Args:
        source: where the state comes from, for the message.

    Raises:
        UserError: lists the missing and the unexpected keys, and those of another shape or kind.
    """
    expected = model.state_dict()
    mistakes = {
        "missing": [key for key in needed_keys(expected) if key not in state],
        "unexpected": [key for key in state if key not in expected],
        "of another shape": [
            f"{key} {tuple(state[key].shape)} instead of {tuple(value.shape)}"
            for key, value in expected.items()
            if key in state and state[key].shape != value.shape
        ],
        "of another kind": [
            f"{key} {state[key].dtype}, {state[key].layout} on {state[key].device} instead of "
            f"dense {value.dtype}"
            for key, value in expected.items()
            if key in state and not _is_of_kind(state[key], value)
        ],
    }
    if any(mistakes.values()):
        told = "; ".join(f"{what}: {', '.join(keys)}" for what, keys in mistakes.items() if keys)
        raise UserError(f"{source} does not fit {type(model).__name__} ({told})")
    model.load_state_dict({**expected, **state})


def _is_of_kind(found: Any, expected: Any) -> bool:
    """Whether a value of a file can be copied without losing what it says."""
    if not isinstance(expected, Tensor):  # of quantised layers
        return True
    is_plain = found.layout == torch.strided and not (found.is_meta or found.is_quantized)
    return is_plain and found.is_floating_point() >= expected.is_floating_point()


def needed_keys(expected: Iterable[str]) -> list[str]:
    """Return the keys of a state dict without those that older files do not have."""
    return [key for key in expected if not key.endswith(_OPTIONAL)]

"""Weights on the disk: safetensors with the spec in the metadata."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pyrobust.errors import UserError
from pyrobust.files import atomic_path
from pyrobust.models.build import build_model
from pyrobust.models.layers import ImageClassifier
from pyrobust.models.spec import ModelSpec

# One key only: the format stores metadata in no fixed order, and equal models are equal bytes.
_METADATA_KEY = "pyrobust"


def save_model(path: Path, model: nn.Module | Mapping[str, Tensor], spec: ModelSpec) -> None:
    """Write the weights atomically; equal weights give equal bytes.

    Args:
        model: a network, or its state dict in the published layout.
    """
    state = model.state_dict() if isinstance(model, nn.Module) else model
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    metadata = {"format": "pyrobust-model", "version": 1, "spec": spec.to_json()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, {_METADATA_KEY: json.dumps(metadata, sort_keys=True)})


def load_model(path: Path, device: str | torch.device) -> tuple[ImageClassifier, ModelSpec]:
    """Read a model that `save_model` wrote; it is in evaluation mode.

    Raises:
        UserError: the file is missing, no model of this project, or its keys do not fit its spec.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing: 'pyrobust train' or 'pyrobust convert' writes it")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_METADATA_KEY)
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(
            f"{path} is no whole safetensors file ({error}): a published .pt file becomes one by "
            f"'pyrobust convert IN {path.name}'"
        ) from error
    metadata = json.loads(text) if text else {}
    if (metadata.get("format"), metadata.get("version")) != ("pyrobust-model", 1):
        raise UserError(
            f"{path} holds no model specification of version 1: write it by 'pyrobust convert'"
        )
    spec = ModelSpec.from_json(metadata["spec"])
    model = build_model(spec)
    load_strictly(model, state, str(path))
    return model.to(device), spec


def load_strictly(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy `state` into `model`.

    Args:
        source: where the state comes from, for the message.

    Raises:
        UserError: lists the missing, the unexpected and the misshapen keys.
    """
    expected = model.state_dict()
    mistakes = {
        "missing": [key for key in expected if key not in state],
        "unexpected": [key for key in state if key not in expected],
        "of another shape": [
            f"{key} {tuple(state[key].shape)} instead of {tuple(value.shape)}"
            for key, value in expected.items()
            if key in state and state[key].shape != value.shape
        ],
    }
    if any(mistakes.values()):
        told = "; ".join(f"{what}: {', '.join(keys)}" for what, keys in mistakes.items() if keys)
        raise UserError(f"{source} does not fit {type(model).__name__} ({told})")
    model.load_state_dict(dict(state))

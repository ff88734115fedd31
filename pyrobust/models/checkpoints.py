"""Published `.pt` checkpoints: read in each of their wrappings, write as RobustBench reads them.

Known wrappings: a bare state dict (the authors), `state_dict` (RobustBench) and
`model_state_dict` beside `unaveraged_model_state_dict` and optimizer state (DM-Improves-AT),
with any of the prefixes `module.` (DataParallel) and `0.` (Sequential).
"""

import pickle
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyrobust.errors import UserError
from pyrobust.files import atomic_path
from pyrobust.models.layers import ImageClassifier
from pyrobust.models.published import Normalization

# Outermost first; the averaged weights stand before the others.
_WRAPPERS = ("model_state_dict", "state_dict")
_PREFIXES = ("module.", "0.")


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return the state dict of a published checkpoint in the layout of `pyrobust.models`.

    Raises:
        UserError: the file is missing, is no PyTorch file, would run code on loading, or holds
            no state dict.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: expected a published .pt checkpoint") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise UserError(
            f"{path} is no checkpoint that can be read without running its code "
            f"({str(error).splitlines()[0]}): expected a .pt file of tensors, and no web page in "
            "its place"
        ) from error
    return unwrap(content, str(path))


def unwrap(content: Any, source: str) -> dict[str, Tensor]:
    """Take the state dict out of its wrappings.

    Raises:
        UserError: there is none; names what was found.
    """
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and key in content:
            content = content[key]
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        found = sorted(content) if isinstance(content, Mapping) else type(content).__name__
        raise UserError(
            f"{source} holds no state dict (found {found}): expected tensors by name, or a "
            f"dictionary with {' or '.join(_WRAPPERS)}"
        )
    state = dict(content)
    while prefix := next((p for p in _PREFIXES if all(k.startswith(p) for k in state)), None):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def architecture_of(state: Mapping[str, Tensor], source: str) -> tuple[str, int, int]:
    """Return (architecture, classes, input channels) of a state dict in the published layout.

    Raises:
        UserError: the keys are those of no known architecture.
    """
    try:
        num_classes, width = state["logits.weight"].shape
        if "init_conv.weight" in state:
            blocks = _count(state, r"layer\.0\.block\.([0-9]+)\.conv_0\.weight")
            name = f"wrn-{6 * blocks + 4}-{width // 64}"
            return name, num_classes, state["init_conv.weight"].shape[1]
        blocks = _count(state, r"layer_1\.([0-9]+)\.conv_2d_1\.weight")
        name = {2: "resnet-18", 4: "resnet-34"}[blocks]
        return name, num_classes, state["conv_2d.weight"].shape[1]
    except KeyError as error:
        raise UserError(
            f"{source} is neither a WideResNet nor a pre-activation ResNet of the published "
            f"layout ({error} is missing); its keys begin with {', '.join(list(state)[:3])}"
        ) from error


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return sum(1 for key in state if re.fullmatch(pattern, key))


def normalization_of(
    state: dict[str, Tensor],
) -> Normalization | None:
    """Take `mean` and `std` out of `state`, where a RobustBench model wrote them."""
    if "mean" not in state or "std" not in state:
        return None
    mean, std = (state.pop(key).double().flatten().tolist() for key in ("mean", "std"))
    # Back from float32 to the decimal number that it was typed as.
    return tuple(round(v, 7) for v in mean), tuple(round(v, 7) for v in std)


def write_checkpoint(path: Path, model: ImageClassifier) -> None:
    """Write a bare state dict of the published layout, which RobustBench loads strictly."""
    state = OrderedDict(
        (key, value.detach().cpu().contiguous()) for key, value in model.state_dict().items()
    )
    with atomic_path(path) as temporary:
        torch.save(state, temporary)

"""Checkpoints from elsewhere: the one place where their weights are read and written.

A checkpoint is a `.pt` or `.pth` file of `torch.save`, or a `.safetensors` file. Its tensors are
named by where they lie: `state_dict/module.conv.weight` is the key `module.conv.weight` of the
dictionary under `state_dict`. A network's weights are then found by the names that the network
expects, behind whatever prefix they share, so that no list of known wrappings is needed.
"""

import importlib
import io
import pickle
import re
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pyrobust.errors import UserError
from pyrobust.files import atomic_path
from pyrobust.models.layers import ImageClassifier
from pyrobust.models.spec import ModelSpec, Normalization
from pyrobust.pickles import pickle_reason

# Between the keys of nested dictionaries; names of modules have dots and no slash.
_NESTED = "/"
# Dictionaries inside one another that are looked into.
_DEPTH = 6
# What torch.compile puts in front of a module's name, at any level.
_COMPILED = "_orig_mod."
# DM-Improves-AT saves the weights before averaging under this key, next to `model_state_dict`.
_UNAVERAGED = "unaveraged_model_state_dict"
# Where our own files keep the specification: in the metadata that PyTorch saves with a state dict.
_METADATA = "pyrobust"


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a file by their place in it, and what the file states about its model.

    Attributes:
        source: the file, for messages.
        spec: of a file that `write_checkpoint` wrote; None for any other.
    """

    source: str
    tensors: dict[str, Tensor]
    spec: ModelSpec | None = None

    def state_with(self, names: Sequence[str]) -> dict[str, Tensor]:
        """Return the state dict that holds `names`, without the prefix they share in the file.

        Where no prefix leads to all of them, return the closest one, so that the caller can say
        what is missing.

        Raises:
            UserError: two prefixes lead to all of them, with different weights.
        """
        found = {prefix: self._below(prefix) for prefix in self._prefixes(names)}
        whole = {prefix: state for prefix, state in found.items() if set(names) <= state.keys()}
        if not whole:
            return max(found.values(), key=lambda state: len(state.keys() & set(names)))
        first, *others = whole.values()
        if not all(_agree(first, other, names) for other in others):
            places = " and ".join(f"'{prefix}'" for prefix in whole)
            raise UserError(
                f"{self.source} contains several networks, under {places}; save the state dict "
                "of one of them to a separate file"
            )
        return first

    def normalization_beside(self, expected: Collection[str]) -> Normalization | None:
        """Return `mean` and `std` of the pixels if the file contains them.

        RobustBench's models, and others behind a normalising layer, save them as buffers.

        Args:
            expected: names that belong to the network itself.

        Raises:
            UserError: several layers keep different ones.
        """
        pairs = {
            (_decimals(mean), _decimals(self.tensors[f"{place}std"]))
            for name, mean in self.tensors.items()
            if (place := _place_of(name, "mean")) is not None
            and f"{place}std" in self.tensors
            and not any(name.endswith(own) for own in expected if own.endswith("mean"))
        }
        if len(pairs) > 1:
            raise UserError(
                f"{self.source} contains several normalisations {sorted(pairs)}; save the state "
                "dict of one model only"
            )
        return pairs.pop() if pairs else None

    def _prefixes(self, names: Sequence[str]) -> list[str]:
        """Return the prefixes that lead to the first or the last of `names`; at least one."""
        ends = (names[0], names[-1])
        found = [
            name.removesuffix(end)
            for name in self.tensors
            for end in ends
            if name.endswith(end) and name.removesuffix(end)[-1:] in ("", ".", _NESTED)
        ]
        # A file of another network: show the keys of its largest dictionary.
        places = [name[: name.rfind(_NESTED) + 1] for name in self.tensors]
        return list(dict.fromkeys(found)) or [max(places, key=places.count)]

    def _below(self, prefix: str) -> dict[str, Tensor]:
        below = {
            name.removeprefix(prefix): value
            for name, value in self.tensors.items()
            if name.startswith(prefix)
        }
        return {name: value for name, value in below.items() if _NESTED not in name}


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the tensors of a file without running code that it brings along.

    Raises:
        UserError: the file is missing or damaged, would run code, or holds no tensor by a name.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; expected a checkpoint, a .pt or .safetensors file")
    content = _safetensors(path) if path.suffix == ".safetensors" else _unpickled(path)
    tensors: dict[str, Tensor] = {}
    for name, value in _tensors_in(content):
        if name in tensors:
            raise UserError(f"{path} contains two tensors named {name}; expected a state dict")
        tensors[name] = value
    if any(name.startswith(f"model_state_dict{_NESTED}") for name in tensors):
        tensors = {n: v for n, v in tensors.items() if not n.startswith(_UNAVERAGED)}
    if not tensors:
        keys = sorted(map(str, content)) if isinstance(content, Mapping) else None
        found = type(content).__name__ if keys is None else f"a dictionary of {keys}"
        raise UserError(
            f"{path} contains no state dict (found {found}); save tensors by name with "
            "torch.save(model.state_dict(), PATH)"
        )
    return Checkpoint(str(path), tensors, _spec_in(content))


def write_checkpoint(path: Path, model: ImageClassifier, spec: ModelSpec) -> None:
    """Write a bare state dict of the published layout, which RobustBench loads strictly.

    The specification travels in the state dict's metadata, where `load_state_dict` of PyTorch
    looks for versions only.
    """
    whole = model.state_dict()
    state = OrderedDict((key, value.detach().cpu().contiguous()) for key, value in whole.items())
    metadata = OrderedDict(getattr(whole, "_metadata", {}))
    metadata[""] = {**metadata.get("", {}), _METADATA: spec.to_json()}
    state._metadata = metadata  # type: ignore[attr-defined]
    # Into memory first: torch.save puts the name of a file into it, and says of a full disk only
    # that a position is unexpected.
    archive = io.BytesIO()
    torch.save(state, archive)
    with atomic_path(path) as temporary:
        temporary.write_bytes(archive.getbuffer())


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
    except (KeyError, ValueError, IndexError) as error:
        raise UserError(
            f"{source} is neither a WideResNet nor a pre-activation ResNet in the published layout "
            f"(its keys begin with {', '.join(list(state)[:3])}); evaluate other networks with "
            "--model MODULE:NAME --weights FILE, where NAME builds the network"
        ) from error


def published_state(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the state dict of a network in the published layout, where the file holds one."""
    stems = ("init_conv.weight", "conv_2d.weight")
    stem = next((s for s in stems if any(n.endswith(s) for n in checkpoint.tensors)), stems[0])
    state = checkpoint.state_with((stem, "logits.weight"))
    return {name: value for name, value in state.items() if name not in ("mean", "std")}


def _safetensors(path: Path) -> Mapping[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is not a complete safetensors file ({error}); download it again"
        ) from error


def _unpickled(path: Path) -> Any:
    with torch.serialization.safe_globals(_harmless_globals()):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except MemoryError:
            raise
        except Exception as error:  # whatever a damaged or hostile file makes an unpickler raise
            named = re.search(r"GLOBAL (\S+)", str(error))
            if named and isinstance(error, pickle.UnpicklingError):
                raise UserError(
                    f"{path} contains an object of {named[1]} and cannot be read without "
                    "running its code; save model.state_dict() instead of the whole object, "
                    "and evaluate it with --model MODULE:NAME --weights FILE, where NAME "
                    "builds the network"
                ) from error
            reason = pickle_reason(error)
            raise UserError(
                f"{path} cannot be read as a checkpoint without running its code ({reason}); "
                "expected a .pt file of tensors (or was a web page saved instead?)"
            ) from error


def _harmless_globals() -> list[Any]:
    """Return what builds NumPy numbers and arrays, such as a saved best accuracy."""
    core: Any = importlib.import_module("numpy._core.multiarray")
    types = [value for value in vars(np.dtypes).values() if isinstance(value, type)]
    older = [(core.scalar, "numpy.core.multiarray.scalar")]
    older.append((core._reconstruct, "numpy.core.multiarray._reconstruct"))
    return [core.scalar, core._reconstruct, np.ndarray, np.dtype, *types, *older]


def _tensors_in(content: Any, place: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    if not isinstance(content, Mapping) or depth == _DEPTH:
        return
    for key, value in content.items():
        name = place + str(key).replace(_COMPILED, "")
        if isinstance(value, Tensor):
            yield name, value
        else:
            yield from _tensors_in(value, f"{name}{_NESTED}", depth + 1)


def _spec_in(content: Any, depth: int = 0) -> ModelSpec | None:
    """Return the specification that `write_checkpoint` added to a state dict, if any."""
    if not isinstance(content, Mapping) or depth == _DEPTH:
        return None
    metadata = getattr(content, "_metadata", None)
    of_root = metadata.get("") if isinstance(metadata, Mapping) else None
    if isinstance(of_root, Mapping) and _METADATA in of_root:
        return ModelSpec.from_json(of_root[_METADATA])
    found = (_spec_in(value, depth + 1) for value in content.values())
    return next((spec for spec in found if spec is not None), None)


def _agree(one: Mapping[str, Tensor], other: Mapping[str, Tensor], names: Sequence[str]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in names)


def _place_of(name: str, last: str) -> str | None:
    """Return what precedes the last component of `name` if that is `last`."""
    place = name.removesuffix(last)
    return place if name.endswith(last) and place[-1:] in ("", ".", _NESTED) else None


def _decimals(values: Tensor) -> tuple[float, ...]:
    """Return the decimal numbers that float32 values were typed as."""
    return tuple(round(value, 7) for value in values.double().flatten().tolist())


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return sum(1 for key in state if re.fullmatch(pattern, key))

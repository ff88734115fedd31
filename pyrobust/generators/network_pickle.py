"""Tensors of a network pickle, read without executing code from the file.

Published StyleGAN2 networks are pickles of whole objects, with the source of their classes, which
their loader executes. Here a pickle may only use the names in `_STAND_INS`, which map to containers
of this project; any other name is an error. A module becomes the dictionary of its attributes.
"""

import io
import pickle
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyrobust.errors import UserError
from pyrobust.pickles import NUMPY, AllowList, Fixed, StandIn, load_allowed

# Attributes in which torch keeps a module's children and tensors.
_CHILDREN, _TENSORS = "_modules", ("_parameters", "_buffers")


def read_network_pickle(path: Path) -> dict[str, dict[str, Tensor]]:
    """Return the state dict of every network in a pickle by its name there (G_ema, …).

    Raises:
        UserError: the file is missing or not a pickle, uses a name outside the list, or contains
            no network.
    """
    content = load_allowed(path, _STAND_INS, "networks")
    networks = {
        str(name): dict(_tensors_of(value))
        for name, value in (content.items() if isinstance(content, Mapping) else ())
        if isinstance(value, Mapping) and _CHILDREN in value
    }
    if not networks:
        raise UserError(
            f"{path} contains no network (found {type(content).__name__}); expected a "
            "StyleGAN2-ADA pickle, a dictionary with G_ema"
        )
    return networks


def _tensors_of(module: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a module and its children by their names in a state dict."""
    for kind in _TENSORS:
        for name, value in (module.get(kind) or {}).items():
            if isinstance(value, Fixed) and isinstance(value.value, Tensor):
                yield f"{prefix}{name}", value.value
    for name, child in (module.get(_CHILDREN) or {}).items():
        if isinstance(child, Mapping):
            yield from _tensors_of(child, f"{prefix}{name}.")


def _attributes(meta: Mapping[str, Any]) -> Any:
    """Return the attributes of an object whose source is embedded in the pickle."""
    return meta["state"]


def _storage(data: bytes) -> Fixed:
    return Fixed(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))


def _tensor(held: Fixed, offset: int, size: Any, stride: Any, *_: Any) -> Fixed:
    """Return a copy of a view of a storage; torch checks its bounds."""
    storage = held.value
    if not isinstance(storage, torch.storage.TypedStorage):
        raise pickle.UnpicklingError("a tensor has no storage")
    flat = torch.empty(0, dtype=storage.dtype).set_(storage._untyped_storage)  # type: ignore[call-overload]
    return Fixed(torch.as_strided(flat, tuple(size), tuple(stride), offset).clone())


def _parameter(data: Fixed, *_: Any) -> Fixed:
    return data


# The names that a pickle may use. None executes code from the file: they build containers, numbers
# and tensors. OrderedDict is built in and cannot be changed by a pickle.
_STAND_INS: AllowList = {
    **NUMPY,
    ("collections", "OrderedDict"): OrderedDict,
    ("dnnlib.util", "EasyDict"): OrderedDict,
    ("dnnlib", "EasyDict"): OrderedDict,
    ("builtins", "set"): StandIn(lambda items=(): set(items)),
    ("__builtin__", "set"): StandIn(lambda items=(): set(items)),
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): StandIn(_attributes),
    ("torch.storage", "_load_from_bytes"): StandIn(_storage),
    ("torch._utils", "_rebuild_tensor"): StandIn(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): StandIn(_tensor),
    ("torch._utils", "_rebuild_parameter"): StandIn(_parameter),
}

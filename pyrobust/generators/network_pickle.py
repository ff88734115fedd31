"""Tensors of a network pickle, read without running anything that the file brings.

The public StyleGAN2 networks are pickles of whole objects, with the source of their classes beside
them for the reader to run. Here a pickle may name only what `_STAND_INS` lists, and what it gets is
a container of ours; every other name is refused. A module becomes the dictionary of its attributes.
"""

import io
import pickle
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from pyrobust.errors import UserError

# Where torch keeps a module's children and tensors, and the names of those it does not save.
_CHILDREN, _TENSORS = "_modules", ("_parameters", "_buffers")


def read_network_pickle(path: Path) -> dict[str, dict[str, Tensor]]:
    """Return the state dict of every network in a pickle, by the name it has there (G_ema, …).

    Raises:
        UserError: the file is missing or no pickle, names something that is not on the list, or
            holds no network.
    """
    try:
        with path.open("rb") as file:
            content = _AllowListUnpickler(file, str(path)).load()
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: expected a pickle of networks") from error
    except UserError:
        raise
    except Exception as error:  # whatever a broken or hostile file makes an unpickler raise
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is no whole pickle of networks ({told})") from error
    networks = {
        str(name): dict(_tensors_of(value))
        for name, value in (content.items() if isinstance(content, Mapping) else ())
        if isinstance(value, Mapping) and _CHILDREN in value
    }
    if not networks:
        raise UserError(
            f"{path} holds no network (found {type(content).__name__}): expected a pickle as "
            "StyleGAN2-ADA writes it, a dictionary with G_ema"
        )
    return networks


def _tensors_of(module: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a module and of its children, as a state dict names them."""
    for kind in _TENSORS:
        for name, value in (module.get(kind) or {}).items():
            if isinstance(value, _Fixed) and isinstance(value.value, Tensor):
                yield f"{prefix}{name}", value.value
    for name, child in (module.get(_CHILDREN) or {}).items():
        if isinstance(child, Mapping):
            yield from _tensors_of(child, f"{prefix}{name}.")


class _Fixed:
    """Something that a pickle gets and may not change."""

    __slots__ = ("value",)
    value: Any

    def __init__(self, value: Any) -> None:
        object.__setattr__(self, "value", value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError("it changes what it was given")

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it changes what it was given")


class _StandIn(_Fixed):
    """A function that a pickle may call."""

    __slots__ = ()

    def __call__(self, *arguments: Any) -> Any:
        return self.value(*arguments)


class _AllowListUnpickler(pickle.Unpickler):
    """Looks names up in `_STAND_INS` and nowhere else."""

    def __init__(self, file: BinaryIO, source: str) -> None:
        super().__init__(file)
        self._source = source

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a global.

        Raises:
            UserError: there is none.
        """
        if (module, name) not in _STAND_INS:
            raise UserError(
                f"{self._source} asks for {module}.{name}, which no pickle of networks needs: it "
                "was refused, and nothing of the file was run"
            )
        return _STAND_INS[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to outside of the file.

        Raises:
            UserError: always.
        """
        raise UserError(
            f"{self._source} refers to data outside of itself: expected a pickle that is whole, "
            "or a file of torch.save with the suffix .pt"
        )


def _attributes(meta: Mapping[str, Any]) -> Any:
    """Return the attributes of an object that the pickle brings the source of."""
    return meta["state"]


def _storage(data: bytes) -> _Fixed:
    return _Fixed(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))


def _tensor(held: _Fixed, offset: int, size: Any, stride: Any, *_: Any) -> _Fixed:
    """Return a copy of a view of a storage; torch checks that the view lies inside."""
    storage = held.value
    if not isinstance(storage, torch.storage.TypedStorage):
        raise pickle.UnpicklingError("a tensor has no storage")
    flat = torch.empty(0, dtype=storage.dtype).set_(storage._untyped_storage)  # type: ignore[call-overload]
    return _Fixed(torch.as_strided(flat, tuple(size), tuple(stride), offset).clone())


def _parameter(data: _Fixed, *_: Any) -> _Fixed:
    return data


class _Dtype:
    """A numpy dtype on its way: byte order comes after the kind."""

    def __init__(self, kind: str) -> None:
        self.dtype = np.dtype(str(kind))
        if self.dtype.kind not in "biufc":
            raise pickle.UnpicklingError(f"an array is of {self.dtype}, expected numbers")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """A numpy array on its way: shape and bytes come after the object."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, is_fortran, data = state
        flat = np.frombuffer(data, kind.dtype)
        self.array = flat.reshape(shape, order="F" if is_fortran else "C")


def _scalar(kind: _Dtype, data: bytes) -> Any:
    return np.frombuffer(data, kind.dtype)[0].item()


def _encode(text: str, encoding: str) -> bytes:
    """Return the bytes that old protocols spell as text."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes are spelled in {encoding}, expected latin1")
    return text.encode(encoding)


_array_type = _StandIn(lambda *_: None)

# What a pickle may name. None of these runs anything that the file brings: they build containers,
# numbers and tensors. OrderedDict is built in and cannot be changed from a pickle.
_STAND_INS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("dnnlib.util", "EasyDict"): OrderedDict,
    ("dnnlib", "EasyDict"): OrderedDict,
    ("_codecs", "encode"): _StandIn(_encode),
    ("builtins", "set"): _StandIn(lambda items=(): set(items)),
    ("__builtin__", "set"): _StandIn(lambda items=(): set(items)),
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _StandIn(_attributes),
    ("torch.storage", "_load_from_bytes"): _StandIn(_storage),
    ("torch._utils", "_rebuild_tensor"): _StandIn(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _StandIn(_tensor),
    ("torch._utils", "_rebuild_parameter"): _StandIn(_parameter),
    ("numpy", "ndarray"): _array_type,
    ("numpy", "dtype"): _StandIn(lambda kind, *_: _Dtype(kind)),
    **{
        (f"numpy.{package}.multiarray", name): function
        for package in ("core", "_core")  # before and since numpy 2
        for name, function in (
            ("_reconstruct", _StandIn(lambda *_: _Array())),
            ("scalar", _StandIn(_scalar)),
        )
    },
}

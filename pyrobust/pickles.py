"""Pickles of unknown origin, read without running anything that the file brings.

A pickle may name only what its reader lists, and what it gets is a stand-in that it cannot change;
every other name is refused.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pyrobust.errors import UserError, reason_of

# (module, name) as a pickle spells a global -> what it gets.
AllowList = Mapping[tuple[str, str], Any]


def load_allowed(path: Path, allowed: AllowList, content: str) -> Any:
    """Return what the pickle at `path` holds, built from the names in `allowed` alone.

    Arrays of numpy arrive as `Array`.

    Args:
        content: what the pickle should hold, for messages.

    Raises:
        UserError: the file is missing or not a whole pickle, or names something else.
    """
    try:
        with path.open("rb") as file:
            return _AllowListUnpickler(file, str(path), allowed, content).load()
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; expected a pickle of {content}") from error
    except UserError:
        raise
    except Exception as error:  # whatever a broken or hostile file makes an unpickler raise
        raise UserError(
            f"{path} is not a complete pickle of {content} ({reason_of(error)})"
        ) from error


class Fixed:
    """Hold a value that a pickle gets and may not change."""

    __slots__ = ("value",)
    value: Any

    def __init__(self, value: Any) -> None:
        object.__setattr__(self, "value", value)

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse every change."""
        raise pickle.UnpicklingError("it changes what it was given")

    def __setstate__(self, state: Any) -> None:
        """Refuse every change."""
        raise pickle.UnpicklingError("it changes what it was given")


class StandIn(Fixed):
    """Hold a function that a pickle may call."""

    __slots__ = ()

    def __call__(self, *arguments: Any) -> Any:
        """Call the function."""
        return self.value(*arguments)


class Array:
    """Hold the array that a pickle builds; its shape and bytes arrive after the object.

    Attributes:
        array: the numbers, read-only.
    """

    array: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Take shape, dtype and bytes as numpy pickles them."""
        _, shape, kind, is_fortran, data = state
        flat = np.frombuffer(data, kind.dtype)
        self.array = flat.reshape(shape, order="F" if is_fortran else "C")


class _AllowListUnpickler(pickle.Unpickler):
    """Look names up in an allow-list and nowhere else."""

    def __init__(self, file: BinaryIO, source: str, allowed: AllowList, content: str) -> None:
        super().__init__(file)
        self._source, self._allowed, self._content = source, allowed, content

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a global.

        Raises:
            UserError: there is none.
        """
        if (module, name) not in self._allowed:
            raise UserError(
                f"{self._source} asks for {module}.{name}, which is not allowed in a pickle of "
                f"{self._content}; nothing in the file was run"
            )
        return self._allowed[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to outside of the file.

        Raises:
            UserError: always.
        """
        raise UserError(
            f"{self._source} refers to data outside the file; expected a complete pickle, or a "
            "torch.save file with the suffix .pt"
        )


class _Dtype:
    """A numpy dtype that is being built: its byte order arrives after its kind."""

    def __init__(self, kind: str) -> None:
        self.dtype = np.dtype(str(kind))
        if self.dtype.kind not in "biufc":
            raise pickle.UnpicklingError(f"an array is of {self.dtype}, expected numbers")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


def _scalar(kind: _Dtype, data: bytes) -> Any:
    return np.frombuffer(data, kind.dtype)[0].item()


def _encode(text: str, encoding: str) -> bytes:
    """Return the bytes that old protocols spell as text."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes are spelled in {encoding}, expected latin1")
    return text.encode(encoding)


# What a pickle of numpy's arrays names: none of these runs anything that the file brings.
NUMPY: AllowList = {
    ("_codecs", "encode"): StandIn(_encode),
    ("numpy", "ndarray"): StandIn(lambda *_: None),
    ("numpy", "dtype"): StandIn(lambda kind, *_: _Dtype(kind)),
    **{
        (f"numpy.{package}.multiarray", name): function
        for package in ("core", "_core")  # before and since numpy 2
        for name, function in (
            ("_reconstruct", StandIn(lambda *_: Array())),
            ("scalar", StandIn(_scalar)),
        )
    },
}


def pickle_reason(error: Exception) -> str:
    """Return why `torch.load` refused a file, without its advice to run the file's code."""
    text = str(error)
    for advice in ("trusted source.", "WeightsUnpickler error:"):
        text = text.partition(advice)[2] or text
    return (text.strip() or type(error).__name__).splitlines()[0].rstrip(".")

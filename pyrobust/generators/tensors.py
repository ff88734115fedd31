"""Weights in a safetensors file: written atomically, mapped instead of loaded."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from pyrobust.errors import UserError
from pyrobust.files import atomic_path, sha256_of

# The dtypes that generators of this project store.
_DTYPES = {"F64": np.float64, "F32": np.float32, "I64": np.int64, "U8": np.uint8}


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> str:
    """Write the arrays and return the SHA-256 of the file; equal arrays give equal bytes."""
    with atomic_path(path) as temporary:
        save_file(dict(tensors), temporary)
        return sha256_of(temporary)


def map_tensors(path: Path, sha256: str, made_by: str) -> dict[str, np.ndarray]:
    """Return read-only arrays that share the file's pages.

    The format: the header's length in 8 bytes, a JSON header of dtype, shape and byte range of
    each tensor, then the bytes.

    Args:
        made_by: the command that writes the file.

    Raises:
        UserError: the file is missing or is not the one with this hash.
    """
    if not path.is_file() or sha256_of(path) != sha256:
        raise UserError(
            f"{path} is missing or does not match its SHA-256: '{made_by}' run again rewrites it"
        )
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    return {
        name: np.memmap(
            path,
            _DTYPES[entry["dtype"]],
            mode="r",
            offset=8 + length + entry["data_offsets"][0],
            shape=tuple(entry["shape"]),
        )
        for name, entry in header.items()
        if name != "__metadata__"
    }

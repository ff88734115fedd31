"""Weights in a safetensors file: written atomically, read through a memory map."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from pyrobust.errors import UserError
from pyrobust.files import atomic_path, sha256_of

# The data types of stored weights.
_DTYPES = {"F64": np.float64, "F32": np.float32, "I64": np.int64, "U8": np.uint8}


# The only key of the file's metadata, since the format does not fix the order of several.
_KEY = "pyrobust"


def write_tensors(
    path: Path, tensors: Mapping[str, np.ndarray], facts: Mapping[str, Any] | None = None
) -> str:
    """Write the arrays and return the SHA-256 of the file; equal contents give equal bytes.

    Args:
        facts: JSON values to store with the arrays.
    """
    metadata = {_KEY: json.dumps(facts, sort_keys=True)} if facts else None
    with atomic_path(path) as temporary:
        save_file(dict(tensors), temporary, metadata)
        return sha256_of(temporary)


def read_facts(path: Path) -> dict[str, Any]:
    """Return the JSON values that `write_tensors` stored with the arrays."""
    header, _ = _header(path)
    facts: dict[str, Any] = json.loads(header.get("__metadata__", {}).get(_KEY, "{}"))
    return facts


def map_tensors(path: Path, sha256: str, made_by: str) -> dict[str, np.ndarray]:
    """Return read-only memory-mapped arrays.

    The format is: the length of the header in 8 bytes, a JSON header with data type, shape and byte
    range of each tensor, then the bytes.

    Args:
        made_by: the command that writes the file.

    Raises:
        UserError: the file is missing or is not the one with this hash.
    """
    if not path.is_file() or sha256_of(path) != sha256:
        raise UserError(
            f"{path} is missing or does not match its SHA-256; run '{made_by}' again to rewrite it"
        )
    header, start = _header(path)
    return {
        name: np.memmap(
            path,
            _DTYPES[entry["dtype"]],
            mode="r",
            offset=start + entry["data_offsets"][0],
            shape=tuple(entry["shape"]),
        )
        for name, entry in header.items()
        if name != "__metadata__"
    }


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the JSON header, and where the arrays start."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(length)), 8 + length

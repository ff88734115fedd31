"""Weights that are mapped from a safetensors file instead of loaded."""

import json
from pathlib import Path

import numpy as np

# The dtypes that generators of this project store.
_DTYPES = {"F64": np.float64, "F32": np.float32, "I64": np.int64, "U8": np.uint8}


def map_tensors(path: Path) -> dict[str, np.ndarray]:
    """Return read-only arrays that share the file's pages.

    The format: the header's length in 8 bytes, a JSON header of dtype, shape and byte range of
    each tensor, then the bytes.
    """
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

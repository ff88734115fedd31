"""Weights in a safetensors file: written atomically, read through a memory map."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from pyrobust.errors import UserError
from pyrobust.files import sha256_of
from pyrobust.tensors import KEY, safetensors_path

# Weights in the folder of a generator.
WEIGHTS = "weights.safetensors"


def write_tensors(
    path: Path, tensors: Mapping[str, np.ndarray], facts: Mapping[str, Any] | None = None
) -> str:
    """Write the arrays and return the SHA-256 of the file; equal contents give equal bytes.

    Args:
        facts: JSON values to store with the arrays.
    """
    metadata = {KEY: json.dumps(facts, sort_keys=True)} if facts else None
    with safetensors_path(path) as temporary:
        save_file(dict(tensors), temporary, metadata)
        return sha256_of(temporary)


def read_facts(path: Path) -> dict[str, Any]:
    """Return the JSON values that `write_tensors` stored with the arrays."""
    with safe_open(path, framework="pt") as file:
        facts: dict[str, Any] = json.loads((file.metadata() or {}).get(KEY, "{}"))
    return facts


def map_tensors(path: Path, sha256: str, made_by: str) -> dict[str, np.ndarray]:
    """Return the arrays, each mapped into memory; what is written to them stays there.

    Args:
        made_by: the command that writes the file.

    Raises:
        UserError: the file is missing or is not the one with this hash.
    """
    if not path.is_file() or sha256_of(path) != sha256:
        raise UserError(
            f"{path} is missing or does not match its SHA-256; run '{made_by}' again to rewrite it"
        )
    with safe_open(path, framework="pt") as file:  # "np" would copy the arrays
        names = file.keys()
        return {name: file.get_tensor(name).numpy() for name in names}

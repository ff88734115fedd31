"""Tensors on disk: one safetensors file with JSON metadata, never a pickle."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pyrobust.errors import UserError
from pyrobust.files import atomic_path

# One key only: the format stores its metadata in no fixed order, and equal contents must give
# equal bytes.
KEY = "pyrobust"


@contextmanager
def safetensors_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path for a writer of safetensors; rename it to `path` afterwards.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    with atomic_path(path) as temporary:
        try:
            yield temporary
        except SafetensorError as error:  # what the system said, without its number
            raise OSError(str(error)) from error
        # The library makes files that only their owner may read.
        temporary.chmod(0o666 & ~_umask())


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and JSON values atomically; equal contents give equal bytes.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    places = set()
    for name, tensor in held.items():  # the format refuses tensors that share memory: tied weights
        place = tensor.untyped_storage().data_ptr()
        if tensor.numel() and place in places:
            held[name] = tensor.clone()
        places.add(place)
    with safetensors_path(path) as temporary:
        save_file(held, temporary, {KEY: json.dumps(facts, sort_keys=True)})


def read_tensors(path: Path, mended_by: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote.

    Args:
        mended_by: what to do about a damaged file, for the message.

    Raises:
        UserError: the file is damaged or of another kind.
    """
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is not a complete safetensors file ({error}); {mended_by}"
        ) from error
    if text is None:
        raise UserError(f"{path} was not written by pyrobust; {mended_by}")
    try:
        return tensors, dict(json.loads(text))
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path} has damaged metadata ({error}); {mended_by}") from error


def _umask() -> int:
    """Return the process's mask for new files; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""Adversarial images that others saved: `.npy` arrays and `.pt` tensors."""

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrobust.errors import UserError

SUFFIXES = (".npy", ".pt", ".pth")


def read_points(path: Path, image_shape: tuple[int, int, int]) -> Tensor:
    """Return adversarial images, (N, C, H, W) float32; no code of the file is run.

    Args:
        path: a `.npy` array, or a `.pt` file of a tensor or of a dictionary that holds one tensor
            of images, as AutoAttack saves `{"adv_complete": x_adv}`.
        image_shape: (H, W, C) of the images that they belong to.

    Raises:
        UserError: the file is missing, damaged, or holds no such images.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; expected adversarial images, .npy or .pt")
    found = _array(path) if path.suffix == ".npy" else _tensor(path)
    height, width, channels = image_shape
    expected = (channels, height, width)
    if found.ndim != 4 or tuple(found.shape[1:]) != expected:
        hint = ": permute them to channels first" if tuple(found.shape[1:]) == image_shape else ""
        raise UserError(
            f"{path} holds {tuple(found.shape)}, expected (N, {', '.join(map(str, expected))})"
            f"{hint}"
        )
    if found.dtype == torch.uint8:
        return found.float() / 255
    if not found.is_floating_point():
        raise UserError(f"{path} holds {found.dtype}, expected pixels in [0, 1] or uint8")
    return found.float()


def _array(path: Path) -> Tensor:
    try:
        # A view of the file has no byte order or strides that torch refuses, once copied.
        found = np.load(path, allow_pickle=False)
        return torch.from_numpy(np.ascontiguousarray(found, found.dtype.newbyteorder("=")))
    except (ValueError, TypeError, OSError, EOFError) as error:
        raise UserError(f"{path} is no array of numbers ({error}); save it by np.save") from error


def _tensor(path: Path) -> Tensor:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, OSError, EOFError, pickle.UnpicklingError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{path} cannot be read as tensors without running its code ({reason}); save it by "
            "torch.save as a tensor or a dictionary of tensors"
        ) from error
    images = [tensor for tensor in _tensors(found) if tensor.ndim == 4]
    if len(images) != 1:
        raise UserError(
            f"{path} holds {len(images)} tensors of four dimensions, expected one, (N, C, H, W)"
        )
    return images[0].detach()


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _tensors(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _tensors(inner)

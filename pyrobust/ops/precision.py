"""Precision of torch's layers: IEEE float32 on any device, or bfloat16."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from pyrobust.config.fields import Precision


@contextmanager
def exact_kernels() -> Iterator[None]:
    """Compute convolutions in IEEE float32, with cuDNN kernels that give the same bits each time.

    By default, cuDNN rounds the factors of convolutions to 10 bits (TF32) on recent GPUs, and
    chooses kernels by timing them.
    """
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        yield


@contextmanager
def full_float32() -> Iterator[None]:
    """Compute convolutions in IEEE float32, with whichever kernels cuDNN is set to choose."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def passes_in(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which networks compute in float32 or bfloat16."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")

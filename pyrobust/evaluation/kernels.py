"""What evaluation asks of the kernels of a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def exact_kernels() -> Iterator[None]:
    """Let cuDNN compute in IEEE float32, by kernels that repeat their results, for the block.

    By default it rounds the factors of convolutions to 10 bits (TF32) on recent GPUs.
    """
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        yield

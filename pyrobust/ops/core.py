"""Loads the compiled core; importing it registers the operators as `torch.ops.pyrobust`."""

import torch  # before _C, which needs torch's libraries loaded

try:
    import pyrobust._C
except ImportError as error:
    raise ImportError(
        f"the compiled core of pyrobust cannot be loaded ({error}); "
        "build it with 'python setup.py build_ext --inplace' from the root of the source tree"
    ) from error

core = torch.ops.pyrobust

WITH_CUDA: bool = pyrobust._C.with_cuda
"""Whether the core was built with its CUDA half."""


def layout_of(x: torch.Tensor) -> torch.memory_format:
    """Return the layout that operators give their outputs: that of `x`, as csrc/ops/layout.h."""
    channels_last = (
        x.dim() == 4
        and not x.is_contiguous()
        and x.is_contiguous(memory_format=torch.channels_last)
    )
    return torch.channels_last if channels_last else torch.contiguous_format


def empty_as(x: torch.Tensor) -> torch.Tensor:
    """Return what an operator allocates for an output like `x` (for fake kernels)."""
    return torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=layout_of(x))

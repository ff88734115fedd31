"""Noise that depends on (seed, sample id, element) alone.

It is counter-based (Philox4x32-10): equal seeds and ids give equal bits on CPU and CUDA, in any
batch and with any number of threads. Values are drawn in float32 whatever the dtype, so that one
seed means one noise in every precision.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pyrobust.ops.core import core, empty_as
from pyrobust.ops.l1 import l1_project_
from pyrobust.ops.norms import is_l2


def random_start(
    x: Tensor,
    sample_ids: Tensor,
    epsilon: float,
    norm: str,
    seed: int,
    step: int,
    on_boundary: bool = False,
) -> Tensor:
    """Return a random point of the ball of radius epsilon around x, clipped to [0, 1].

    linf: uniform in the box. l2: uniform in the ball (a normal direction, radius u^(1/d)). l1:
    x plus standard normal noise, projected (`l1_project_`), as AutoAttack draws it.

    Args:
        x: (N, ...) in [0, 1], float32 or float64.
        sample_ids: (N,) int64.
        seed: any int64.
        step: 0 to 2^32 - 1; distinguishes the starts of one sample (restart, training step).
        on_boundary: APGD's start, of norm exactly epsilon before clipping:
            epsilon * t / ||t||, t uniform in (-1, 1) for linf and normal for l2; for l1 the
            start is the same.
    """
    if norm == "l1":
        start = x + normal(sample_ids, x.shape[1:], seed, step, x.dtype)
        l1_project_(start, x, epsilon)
        return start
    result: Tensor = core.random_start(x, sample_ids, epsilon, is_l2(norm), seed, step, on_boundary)
    return result


def normal(
    sample_ids: Tensor,
    shape: Sequence[int],
    seed: int,
    stream: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return standard normal noise (N, *shape) on the device of `sample_ids`.

    Args:
        sample_ids: (N,) int64.
        shape: of one sample.
        seed: any int64.
        stream: 0 to 2^32 - 1; distinguishes the noises of one sample (such as diffusion steps).
        dtype: float32, float64 or bfloat16.
    """
    result: Tensor = core.normal(sample_ids, list(shape), seed, stream, dtype)
    return result


def uniform(
    sample_ids: Tensor,
    shape: Sequence[int],
    seed: int,
    stream: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return noise uniform in [0, 1), multiples of 2^-24; arguments as for `normal`."""
    result: Tensor = core.uniform(sample_ids, list(shape), seed, stream, dtype)
    return result


def random_signs(
    sample_ids: Tensor,
    shape: Sequence[int],
    seed: int,
    stream: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return a Rademacher direction: -1 or 1 with equal chance; arguments as for `normal`."""
    result: Tensor = core.random_signs(sample_ids, list(shape), seed, stream, dtype)
    return result


def _fake_start(
    x: Tensor,
    sample_ids: Tensor,
    epsilon: float,
    l2: bool,
    seed: int,
    step: int,
    on_boundary: bool,
) -> Tensor:
    return empty_as(x)


def _fake_noise(
    sample_ids: Tensor, shape: Sequence[int], seed: int, stream: int, dtype: torch.dtype
) -> Tensor:
    return sample_ids.new_empty((sample_ids.shape[0], *shape), dtype=dtype)


torch.library.register_fake("pyrobust::random_start", _fake_start)
for _name in ("normal", "uniform", "random_signs"):
    torch.library.register_fake(f"pyrobust::{_name}", _fake_noise)

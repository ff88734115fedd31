"""Devices and samples that the operator tests share."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    dtype: torch.dtype = request.param
    return dtype


Images = tuple[Tensor, Tensor, Tensor]


@pytest.fixture
def images() -> Callable[..., Images]:
    """Return a function that makes (x_adv, x, grad) with x in [0, 1], some of it on the border."""

    def make(
        shape: tuple[int, ...] = (5, 3, 7, 9),
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        seed: int = 0,
    ) -> Images:
        generator = torch.Generator().manual_seed(seed)
        x = torch.rand(shape, generator=generator, dtype=dtype)
        x = torch.where(torch.rand(shape, generator=generator) < 0.1, x.round(), x)
        delta = 0.06 * torch.rand(shape, generator=generator, dtype=dtype) - 0.03
        grad = torch.randn(shape, generator=generator, dtype=dtype)
        return (x + delta).clamp(0, 1).to(device), x.to(device), grad.to(device)

    return make

"""The update of weights and averages, against torch.optim and plain PyTorch."""

from typing import Any

import pytest
import torch
from torch import Tensor

from pyrobust import ops
from tests import reference

SHAPES = [(7,), (16, 3, 3, 3), (1,), (0,), (33, 5), (4, 1000)]


def tensors(
    seed: int, dtype: torch.dtype = torch.float32, device: str = "cpu", scale: float = 1.0
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        scale * torch.randn(shape, generator=generator, dtype=dtype).to(device) for shape in SHAPES
    ]


# param, grad, buffer, average, decayed, expected param, buffer, average for
# learning rate 0.5, momentum 0.5, weight decay 0.25, ema decay 0.75.
STEPS = [
    (1.0, 2.0, 0.0, 1.0, False, -0.5, 2.0, 0.625),
    (1.0, 2.0, 4.0, 0.0, False, -1.0, 4.0, -0.25),
    (4.0, 1.0, 0.0, 4.0, True, 2.5, 2.0, 3.625),
]


@pytest.mark.parametrize(("param", "grad", "buffer", "average", "decayed", *"pba"), STEPS)
def test_a_step_of_one_weight(
    param: float, grad: float, buffer: float, average: float, decayed: bool,
    p: float, b: float, a: float, dtype: torch.dtype, device: str,
) -> None:  # fmt: skip
    lists = [
        [torch.tensor([v], dtype=dtype, device=device)] for v in (param, grad, buffer, average)
    ]
    ops.sgd_ema_step_(*lists, [decayed], 0.5, 0.5, 0.25, 0.75)
    assert [lists[i][0].item() for i in (0, 2, 3)] == [p, b, a]


def test_ten_steps_match_torch_optim(dtype: torch.dtype, device: str) -> None:
    ours, theirs = tensors(0, dtype, device), tensors(0, dtype, device)
    decayed = [i % 2 == 0 for i in range(len(SHAPES))]
    buffers = [torch.zeros_like(p) for p in ours]
    averages = [p.clone() for p in ours]
    expected = [p.clone() for p in theirs]
    groups = [
        {"params": [p for p, d in zip(theirs, decayed, strict=True) if d == flag],
         "weight_decay": 0.1 if flag else 0.0}
        for flag in (True, False)
    ]  # fmt: skip
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True)
    for step in range(10):
        grads = tensors(step + 1, dtype, device)
        decay = ops.averaging_ramp(step, 0.995)
        ops.sgd_ema_step_(ours, grads, buffers, averages, decayed, 0.1, 0.9, 0.1, decay)
        for param, grad in zip(theirs, grads, strict=True):
            param.grad = grad
        optimizer.step()
        torch._foreach_lerp_(expected, theirs, 1 - decay)
    bound = 4e-6 if dtype == torch.float32 else 1e-14
    for actual, like in zip([*ours, *averages], [*theirs, *expected], strict=True):
        torch.testing.assert_close(actual, like, rtol=bound, atol=bound)


def test_a_step_has_the_bits_of_the_reference(dtype: torch.dtype, device: str) -> None:
    state = [tensors(seed, dtype, device) for seed in range(4)]
    decayed = [True, False, True, True, False, True]
    args = (0.1, 0.9, 5e-4, 0.995)
    expected = [
        reference.sgd_ema_step(*row, flag, *args)
        for *row, flag in zip(*state, decayed, strict=True)
    ]
    ops.sgd_ema_step_(*state, decayed, *args)
    tolerance = {"rtol": 1e-6 if dtype == torch.float32 else 1e-15, "atol": 1e-15}
    for i, (param, buffer, average) in enumerate(expected):
        torch.testing.assert_close(state[0][i], param, **tolerance)
        torch.testing.assert_close(state[2][i], buffer, **tolerance)
        torch.testing.assert_close(state[3][i], average, **tolerance)


def test_bfloat16_gradients_are_taken(device: str) -> None:
    grads = [grad.bfloat16() for grad in tensors(1, device=device)]
    results = []
    for given in (grads, [grad.float() for grad in grads]):
        state = [tensors(0, device=device), tensors(2, device=device), tensors(3, device=device)]
        ops.sgd_ema_step_(state[0], given, *state[1:], [True] * len(SHAPES), 0.1, 0.9, 0.1, 0.9)
        results.append([tensor for tensors_of in state for tensor in tensors_of])
    for actual, expected in zip(*results, strict=True):
        assert torch.equal(actual, expected)


def test_channels_last_weights_take_gradients_of_any_stride(device: str) -> None:
    weight, grad = torch.randn(2, 8, 4, 3, 3, device=device)
    expected = [[weight.clone()], [torch.zeros_like(weight)], [weight.clone()]]
    ops.sgd_ema_step_(expected[0], [grad], *expected[1:], [True], 0.1, 0.9, 0.1, 0.9)
    last = [[t.to(memory_format=torch.channels_last) for t in row] for row in
            ([weight.clone()], [torch.zeros_like(weight)], [weight.clone()])]  # fmt: skip
    ops.sgd_ema_step_(last[0], [grad], *last[1:], [True], 0.1, 0.9, 0.1, 0.9)
    for actual, like in zip(last, expected, strict=True):
        assert all(map(torch.equal, actual, like))


def test_ema_update_follows_its_formula(dtype: torch.dtype, device: str) -> None:
    averages, values = tensors(0, dtype, device), tensors(1, dtype, device)
    expected = [0.75 * a + 0.25 * v for a, v in zip(averages, values, strict=True)]
    ops.ema_update_(averages, values, 0.75)
    for actual, like in zip(averages, expected, strict=True):
        assert torch.equal(actual, like)
    ops.ema_update_(averages, values, 0.0)
    assert all(torch.equal(a, v) for a, v in zip(averages, values, strict=True))


def test_a_list_of_many_tensors_is_updated_whole(device: str) -> None:
    averages = [torch.full((i % 7,), float(i), device=device) for i in range(1500)]
    ops.ema_update_(averages, [torch.zeros_like(a) for a in averages], 0.5)
    assert all((a == i / 2).all() for i, a in enumerate(averages))


def test_empty_lists_are_taken() -> None:
    ops.sgd_ema_step_([], [], [], [], [], 0.1, 0.9, 0.0, 0.9)
    ops.ema_update_([], [], 0.9)


@pytest.mark.parametrize(
    ("step", "tau", "decay"),
    [(0, 0.995, 0.1), (8, 0.995, 0.5), (1789, 0.995, 1790 / 1799), (1790, 0.995, 0.995),
     (10**6, 0.995, 0.995), (5, 0.0, 0.0)],
)  # fmt: skip
def test_the_ramp_of_the_average(step: int, tau: float, decay: float) -> None:
    assert ops.averaging_ramp(step, tau) == decay


def test_wrong_arguments_are_named_with_what_was_expected() -> None:
    def take(**change: Any) -> None:
        names = ("params", "grads", "momentum_buffers", "averages")
        lists: dict[str, Any] = {name: [torch.zeros(2, 3)] for name in names}
        ops.sgd_ema_step_(**{**lists, "decayed": [True], **change}, learning_rate=0.1,
                          momentum=0.9, weight_decay=0.0, ema_decay=0.9)  # fmt: skip

    with pytest.raises(ValueError, match="grads has 0 tensors, expected 1 as params has"):
        take(grads=[])
    with pytest.raises(ValueError, match=r"averages has shape \[3\], expected \[2, 3\]"):
        take(averages=[torch.zeros(3)])
    with pytest.raises(ValueError, match="decayed has 2 entries, expected 1"):
        take(decayed=[True, False])
    with pytest.raises(ValueError, match=r"averages 0 has strides \[1, 2\], expected .*\[3, 1\]"):
        take(averages=[torch.zeros(3, 2).t()])
    with pytest.raises(TypeError, match="momentum_buffers is Double, expected Float"):
        take(momentum_buffers=[torch.zeros(2, 3).double()])

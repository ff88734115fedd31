"""Steps of projected gradient ascent against plain PyTorch, at the borders and off them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from pyrobust import ops
from tests import reference

NAN, INF = float("nan"), float("inf")


def after(take: Callable[..., None], x_adv: Tensor, *arguments: Any) -> Tensor:
    """Return a copy of x_adv after a step in place."""
    point = x_adv.clone()
    take(point, *arguments)
    return point


# x_adv, x, grad, step_size, epsilon, expected: one element each.
LINF_STEPS = [
    (0.5, 0.5, 1.0, 0.125, 0.25, 0.625),  # up the gradient
    (0.5, 0.5, -3.0, 0.125, 0.25, 0.375),  # its size does not matter
    (0.5, 0.5, 0.0, 0.125, 0.25, 0.5),
    (0.625, 0.5, 1.0, 0.25, 0.25, 0.75),  # back to the ball
    (1.0, 1.0, 1.0, 0.125, 0.25, 1.0),  # back to [0, 1]
    (0.0, 0.0, -1.0, 0.125, 0.25, 0.0),
    (0.625, 0.5, 1.0, 0.125, 0.0, 0.5),  # a ball without extent
    (0.5, 0.5, NAN, 0.125, 0.25, 0.5),  # no direction, no move
    (0.5, 0.5, INF, 0.125, 0.25, 0.625),  # the direction is known
    (0.5, 0.5, -INF, 0.125, 0.25, 0.375),
]

# The same for samples of two elements.
L2_STEPS = [
    ([0.5, 0.5], [0.5, 0.5], [3.0, 4.0], 0.25, 0.5, [0.65, 0.7]),
    ([0.5, 0.5], [0.5, 0.5], [-3e-30, 4e-30], 0.25, 0.5, [0.35, 0.7]),  # tiny, a direction still
    ([0.5, 0.5], [0.5, 0.5], [3e30, 4e30], 0.25, 0.5, [0.65, 0.7]),
    ([0.5, 0.5], [0.5, 0.5], [3.0, 4.0], 1.0, 0.25, [0.65, 0.7]),  # back to the ball
    ([0.5, 0.5], [0.5, 0.5], [0.0, 0.0], 0.25, 0.5, [0.5, 0.5]),  # no gradient, no move
    ([0.5, 0.5], [0.5, 0.5], [NAN, 4.0], 0.25, 0.5, [0.5, 0.75]),
    ([0.5, 0.5], [0.5, 0.5], [INF, -2.0], 0.25, 0.5, [0.5, 0.25]),
    ([0.5, 0.5], [0.5, 0.5], [NAN, NAN], 0.25, 0.5, [0.5, 0.5]),
    ([1.0, 0.5], [1.0, 0.5], [3.0, 4.0], 0.25, 0.5, [1.0, 0.7]),  # back to [0, 1]
    ([0.75, 0.5], [0.5, 0.5], [1.0, 1.0], 0.25, 0.0, [0.5, 0.5]),  # a ball without extent
]


@pytest.mark.parametrize(("x_adv", "x", "grad", "size", "epsilon", "expected"), LINF_STEPS)
def test_linf_step_of_one_element(
    x_adv: float, x: float, grad: float, size: float, epsilon: float, expected: float,
    dtype: torch.dtype, device: str,
) -> None:  # fmt: skip
    tensors = [torch.tensor([[v]], dtype=dtype, device=device) for v in (x_adv, x, grad, expected)]
    assert torch.equal(after(ops.linf_step_, *tensors[:3], size, epsilon), tensors[3])


@pytest.mark.parametrize(("x_adv", "x", "grad", "size", "epsilon", "expected"), L2_STEPS)
def test_l2_step_of_two_elements(
    x_adv: list[float], x: list[float], grad: list[float], size: float, epsilon: float,
    expected: list[float], dtype: torch.dtype, device: str,
) -> None:  # fmt: skip
    tensors = [torch.tensor([v], dtype=dtype, device=device) for v in (x_adv, x, grad, expected)]
    actual = after(ops.l2_step_, *tensors[:3], size, epsilon)
    torch.testing.assert_close(actual, tensors[3])


def test_linf_step_has_the_bits_of_plain_pytorch(
    images: Callable[..., Any], dtype: torch.dtype, device: str
) -> None:
    x_adv, x, grad = images(dtype=dtype, device=device)
    expected = reference.step(x_adv, x, grad, 2 / 255, 8 / 255, "linf")
    assert torch.equal(after(ops.linf_step_, x_adv, x, grad, 2 / 255, 8 / 255), expected)


@pytest.mark.parametrize("shape", [(5, 3, 7, 9), (4, 1, 1, 1), (3, 3, 32, 32), (2, 257), (2, 5000)])
def test_l2_step_matches_plain_pytorch(
    shape: tuple[int, ...], images: Callable[..., Any], dtype: torch.dtype, device: str
) -> None:
    x_adv, x, grad = images(shape, dtype=dtype, device=device)
    actual = after(ops.l2_step_, x_adv, x, grad, 0.1, 0.5)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-14
    expected = reference.step(x_adv, x, grad, 0.1, 0.5, "l2")
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_adam_steps_match_plain_pytorch_over_ten_steps(
    norm: str, images: Callable[..., Any], dtype: torch.dtype, device: str
) -> None:
    x_adv, x, _ = images((4, 3, 16, 16), dtype=dtype, device=device)
    epsilon, take = (0.5, ops.l2_adam_step_) if norm == "l2" else (8 / 255, ops.linf_adam_step_)
    ours = [x_adv.clone(), torch.zeros_like(x), torch.zeros_like(x)]
    theirs = [tensor.double().clone() for tensor in ours]
    for step in range(1, 11):
        grad = 1e-3 * images((4, 3, 16, 16), dtype=dtype, device=device, seed=step)[2]
        rate = 0.1 if step <= 5 else 0.01
        take(ours[0], x, grad, ours[1], ours[2], step, rate, epsilon)
        theirs = list(
            reference.adam_step(
                theirs[0], x.double(), grad.double(), theirs[1], theirs[2], step, rate,
                epsilon, norm,
            )
        )  # fmt: skip
    # The bound is ten roundings of a step of 0.1.
    bounds = [2e-6, 1e-9, 1e-12] if dtype == torch.float32 else [1e-14, 1e-17, 1e-20]
    for actual, expected, bound in zip(ours, theirs, bounds, strict=True):
        assert (actual.double() - expected).abs().max() < bound


@pytest.mark.parametrize("take", [ops.linf_adam_step_, ops.l2_adam_step_])
@pytest.mark.parametrize("wrong", [NAN, INF, -INF])
def test_a_gradient_that_is_not_finite_leaves_adam_as_a_zero_gradient_does(
    take: Callable[..., None], wrong: float, device: str
) -> None:
    results = []
    for value in (wrong, 0.0):
        x = torch.full((1, 4), 0.5, device=device)
        grad = torch.tensor([[value, 1.0, -1.0, 0.0]], device=device)
        state = [x.clone(), torch.full_like(x, 0.25), torch.full_like(x, 0.5)]
        take(state[0], x, grad, state[1], state[2], 3, 0.1, 0.05)
        results.append(state)
    for actual, expected in zip(*results, strict=True):
        assert torch.equal(actual, expected)
        assert actual.isfinite().all()


bits = st.integers(0, 2**32 - 1)
pixels = st.floats(0, 1, width=32)
any_float = st.floats(width=32)


@given(
    x=arrays("float32", (2, 5), elements=pixels),
    x_adv=arrays("float32", (2, 5), elements=pixels),
    grad=arrays("float32", (2, 5), elements=any_float),
    size=st.floats(0, 2),
    epsilon=st.floats(0, 1),
)
@settings(max_examples=200)
def test_steps_end_in_the_ball_and_in_the_pixel_range(
    x: Any, x_adv: Any, grad: Any, size: float, epsilon: float
) -> None:
    clean, point, gradient = (torch.from_numpy(array) for array in (x, x_adv, grad))
    linf = after(ops.linf_step_, point, clean, gradient, size, epsilon)
    assert torch.equal(linf, reference.step(point, clean, gradient, size, epsilon, "linf"))
    assert (linf - clean).abs().max() <= epsilon + 2**-24
    l2 = after(ops.l2_step_, point, clean, gradient, size, epsilon)
    assert norm_of(l2, clean) <= epsilon * (1 + 1e-6) + 1e-44
    for result in (linf, l2):
        assert ((result >= 0) & (result <= 1)).all()


def norm_of(point: Tensor, x: Tensor) -> float:
    return (point.double() - x.double()).flatten(1).norm(dim=1).max().item()


@pytest.mark.parametrize("epsilon", [1e-6, 1e-3, 128 / 255, 3.0])
def test_l2_steps_never_leave_the_ball_by_rounding(
    epsilon: float, images: Callable[..., Any], device: str
) -> None:
    x_adv, x, grad = images((64, 3, 32, 32), device=device)
    stepped = after(ops.l2_step_, x_adv, x, grad, 10.0, epsilon)
    assert norm_of(stepped, x) <= epsilon * (1 + 1e-6)
    ops.l2_adam_step_(x_adv, x, grad, torch.zeros_like(x), torch.zeros_like(x), 1, 0.1, epsilon)
    assert norm_of(x_adv, x) <= epsilon * (1 + 1e-6)


@pytest.mark.parametrize("take", [ops.linf_step_, ops.l2_step_])
def test_steps_take_bfloat16_gradients(
    take: Callable[..., None], images: Callable[..., Any], device: str
) -> None:
    x_adv, x, grad = images(device=device)
    half = grad.bfloat16()
    expected = after(take, x_adv, x, half.float(), 0.1, 0.2)
    assert torch.equal(after(take, x_adv, x, half, 0.1, 0.2), expected)


@pytest.mark.parametrize("take", [ops.linf_step_, ops.l2_step_])
def test_steps_write_through_any_stride(
    take: Callable[..., None], images: Callable[..., Any], device: str
) -> None:
    x_adv, x, grad = images((4, 3, 20, 20), device=device)
    expected = after(take, x_adv, x, grad, 0.1, 0.2)
    strided = torch.zeros(20, 20, 4, 3, device=device).permute(2, 3, 0, 1).copy_(x_adv)
    wide = torch.stack([grad, grad], dim=-1)[..., 0]
    take(strided, x, wide, 0.1, 0.2)
    assert torch.equal(strided, expected)
    last = x.to(memory_format=torch.channels_last)
    take(x_adv, last, wide, 0.1, 0.2)
    # The norms of l2 are summed in the order of memory.
    torch.testing.assert_close(x_adv, expected, rtol=0, atol=1e-6)
    assert x_adv.is_contiguous()


@pytest.mark.parametrize("take", [ops.linf_adam_step_, ops.l2_adam_step_])
def test_adam_steps_write_through_any_stride(
    take: Callable[..., None], images: Callable[..., Any], device: str
) -> None:
    x_adv, x, grad = images((4, 3, 6, 5), device=device)
    expected = [x_adv.clone(), torch.zeros_like(x), torch.zeros_like(x)]
    take(expected[0], x, grad, expected[1], expected[2], 1, 0.1, 0.2)
    strided = [torch.zeros(6, 5, 4, 3, device=device).permute(2, 3, 0, 1) for _ in range(3)]
    strided[0].copy_(x_adv)
    take(strided[0], x, grad, strided[1], strided[2], 1, 0.1, 0.2)
    for actual, like in zip(strided, expected, strict=True):
        assert torch.equal(actual, like)


def test_in_place_steps_are_noticed_by_autograd(device: str) -> None:
    x = torch.rand(2, 3, device=device)
    point, moments = x.clone(), [torch.zeros_like(x), torch.zeros_like(x)]
    weight = torch.ones_like(x, requires_grad=True)
    product = (weight * point).sum()
    ops.linf_adam_step_(point, x, torch.ones_like(x), *moments, 1, 0.1, 0.1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.backward()


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (3, 0)])
def test_steps_take_empty_batches(shape: tuple[int, ...], device: str) -> None:
    x = torch.zeros(shape, device=device)
    ops.linf_step_(x, x, x, 0.1, 0.1)
    ops.l2_step_(x, x, x, 0.1, 0.1)
    ops.linf_adam_step_(x, x, x, x.clone(), x.clone(), 1, 0.1, 0.1)
    ops.l2_adam_step_(x, x, x, x.clone(), x.clone(), 1, 0.1, 0.1)


@pytest.mark.parametrize("take", [ops.linf_step_, ops.l2_step_])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"grad": torch.zeros(2, 4)}, ValueError, r"grad has shape \[2, 4\], expected \[2, 3\]"),
        ({"x_adv": torch.zeros(3)}, ValueError, r"x_adv has shape \[3\], expected \[2, 3\]"),
        ({"grad": torch.zeros(2, 3).half()}, TypeError, "grad is Half, expected Float or BFloat16"),
        ({"x_adv": torch.zeros(2, 3).double()}, TypeError, "x_adv is Double, expected Float"),
        ({"epsilon": -0.5}, ValueError, "epsilon is -0.5, expected 0 or more"),
    ],
)
def test_wrong_arguments_are_named_with_what_was_expected(
    take: Callable[..., None], change: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments: dict[str, Any] = {name: torch.zeros(2, 3) for name in ("x_adv", "x", "grad")}
    with pytest.raises(error, match=message):
        take(**{**arguments, "step_size": 0.1, "epsilon": 0.1, **change})


@pytest.mark.gpu
def test_tensors_on_two_devices_are_named() -> None:
    x = torch.zeros(2, 3, device="cuda")
    with pytest.raises(ValueError, match="grad is on cpu, expected cuda:0"):
        ops.linf_step_(x.clone(), x, x.cpu(), 0.1, 0.1)

"""The l1 step and its projection, against exact twins in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import LinearConstraint, minimize
from torch import Tensor

from pyrobust import ops
from tests import reference

NAN, INF = float("nan"), float("inf")
SHAPES = [(5, 3, 7, 9), (4, 1, 1, 1), (3, 3, 32, 32), (2, 257), (2, 5000)]


def projected(point: Tensor, x: Tensor, epsilon: float) -> Tensor:
    result = point.clone()
    ops.l1_project_(result, x, epsilon)
    return result


def moved(
    x_adv: Tensor, x: Tensor, grad: Tensor, size: float, count: int, epsilon: float
) -> Tensor:
    """Return x_adv after one step, of the same size and sparsity for all samples."""
    result = x_adv.clone()
    sizes = x.new_full((len(x),), size)
    counts = torch.full((len(x),), count, device=x.device)
    ops.l1_step_(result, x, grad, sizes, counts, epsilon)
    return result


# x_adv, x, grad, step size, elements moved, epsilon, expected.
STEPS = [
    ([0.5, 0.5], [0.5, 0.5], [3.0, -4.0], 0.25, 1, 0.5, [0.5, 0.25]),  # the largest element
    ([0.5, 0.5], [0.5, 0.5], [3.0, -4.0], 0.25, 2, 0.5, [0.625, 0.375]),  # both, with half each
    ([0.5, 0.5], [0.5, 0.5], [-4.0, 4.0], 0.25, 1, 0.5, [0.375, 0.625]),  # a tie
    ([0.5, 0.5], [0.5, 0.5], [0.0, 1e-30], 0.25, 2, 0.5, [0.5, 0.75]),  # zeros do not count
    ([0.5, 0.5], [0.5, 0.5], [0.0, 0.0], 0.25, 1, 0.5, [0.5, 0.5]),
    ([0.5, 0.5], [0.5, 0.5], [NAN, -2.0], 0.25, 1, 0.5, [0.5, 0.25]),
    ([0.5, 0.5], [0.5, 0.5], [INF, NAN], 0.25, 2, 0.5, [0.5, 0.5]),
    ([0.75, 0.5], [0.5, 0.5], [0.0, 1.0], 0.25, 1, 0.25, [0.625, 0.625]),  # back to the ball
    ([1.0, 0.5], [1.0, 0.5], [3.0, 1.0], 0.25, 1, 0.5, [1.0, 0.5]),  # no room
    ([0.75, 0.5], [0.5, 0.5], [1.0, 1.0], 0.25, 2, 0.0, [0.5, 0.5]),  # a ball without extent
]


@pytest.mark.parametrize(("x_adv", "x", "grad", "size", "count", "epsilon", "expected"), STEPS)
def test_a_step_of_two_elements(
    x_adv: list[float], x: list[float], grad: list[float], size: float, count: int,
    epsilon: float, expected: list[float], dtype: torch.dtype, device: str,
) -> None:  # fmt: skip
    tensors = [torch.tensor([v], dtype=dtype, device=device) for v in (x_adv, x, grad, expected)]
    actual = moved(*tensors[:3], size, count, epsilon)
    torch.testing.assert_close(actual, tensors[3], rtol=0, atol=2e-7)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("epsilon", [0.01, 1.0, 12.0])
def test_projections_are_those_of_the_exact_twin(
    shape: tuple[int, ...], epsilon: float, images: Callable[..., Any], dtype: torch.dtype,
    device: str,
) -> None:  # fmt: skip
    _, x, noise = images(shape, dtype=dtype, device=device)
    for scale in (0.01, 1.0):  # inside and far outside
        point = x + scale * noise
        actual = projected(point, x, epsilon).cpu().double()
        expected = reference.project_l1(point.cpu(), x.cpu(), epsilon)
        bound = 4e-7 * max(1, epsilon) if dtype == torch.float32 else 1e-10
        torch.testing.assert_close(actual, expected, rtol=0, atol=bound)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.001, 0.1, 1.0])
def test_steps_are_those_of_the_exact_twin(
    shape: tuple[int, ...], share: float, images: Callable[..., Any], dtype: torch.dtype,
    device: str,
) -> None:  # fmt: skip
    x_adv, x, grad = images(shape, dtype=dtype, device=device)
    count = max(1, int(share * x[0].numel()))
    sizes = torch.linspace(0.1, 2, len(x), dtype=dtype, device=device)
    counts = torch.full((len(x),), count, device=device)
    actual = x_adv.clone()
    ops.l1_step_(actual, x, grad, sizes, counts, 1.5)
    expected = reference.l1_step(*(t.cpu() for t in (x_adv, x, grad, sizes, counts)), 1.5)
    bound = 6e-7 if dtype == torch.float32 else 1e-10
    torch.testing.assert_close(actual.cpu().double(), expected, rtol=0, atol=bound)


def test_the_twin_solves_the_quadratic_programme() -> None:
    """min ||z - p||_2 with ||z - x||_1 <= epsilon and z in [0, 1], by a general solver."""
    random = np.random.default_rng(0)
    for _ in range(10):
        x, point, epsilon = random.random(5), random.normal(0.5, 1, 5), 0.8
        # z = x + up - down with up and down from 0, so that all constraints are linear.
        both = np.hstack([np.eye(5), -np.eye(5)])
        constraints = [
            LinearConstraint(np.ones(10), -np.inf, epsilon),
            LinearConstraint(both, -x, 1 - x),
        ]
        found = minimize(
            lambda z, p=point, x=x, both=both: np.square(x + both @ z - p).sum(), np.zeros(10),
            bounds=[(0, None)] * 10, constraints=constraints, method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )  # fmt: skip
        ours = reference.project_l1(torch.tensor(point)[None], torch.tensor(x)[None], epsilon)
        np.testing.assert_allclose(ours[0].numpy(), x + both @ found.x, atol=1e-5)


def test_the_twin_agrees_with_autoattack() -> None:
    base = pytest.importorskip("pyautoattack.autopgd_base")
    random = torch.Generator().manual_seed(0)
    x, noise = torch.rand(8, 300, generator=random), torch.randn(8, 300, generator=random)
    theirs = x + noise + base.L1_projection(x, noise, 5.0)
    torch.testing.assert_close(
        reference.project_l1(x + noise, x, 5.0).float(), theirs, rtol=0, atol=1e-5
    )


any_float = st.floats(width=32)


@given(
    x=arrays("float32", (2, 6), elements=st.floats(0, 1, width=32)),
    x_adv=arrays("float32", (2, 6), elements=st.floats(-4, 4, width=32)),
    grad=arrays("float32", (2, 6), elements=any_float),
    size=st.floats(0, 20),
    count=st.integers(1, 6),
    epsilon=st.floats(0, 8),
)
@settings(max_examples=300)
def test_steps_end_in_the_ball_and_in_the_pixel_range(
    x: Any, x_adv: Any, grad: Any, size: float, count: int, epsilon: float
) -> None:
    clean, point, gradient = (torch.from_numpy(array) for array in (x, x_adv, grad))
    for end in (moved(point, clean, gradient, size, count, epsilon),
                projected(point, clean, epsilon)):  # fmt: skip
        assert end.min() >= 0 and end.max() <= 1
        assert ((end.double() - clean.double()).abs().sum(1) <= epsilon).all()


@pytest.mark.parametrize("epsilon", [7.109285614022302e-41, 1e-45, 1.2e-38, 5e-324])
def test_subnormal_perturbations_stay_in_the_ball(
    epsilon: float, dtype: torch.dtype, device: str
) -> None:
    x = torch.zeros(1, 6, dtype=dtype, device=device)
    end = projected(x + 8 * epsilon, x, epsilon)
    assert end.double().sum() <= epsilon


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_stored_points_never_leave_a_ball_of_an_image(dtype: torch.dtype) -> None:
    random = torch.Generator().manual_seed(1)
    x = torch.rand(6, 3, 32, 32, generator=random, dtype=dtype)
    for epsilon in (0.5, 12.0, 100.0):
        end = projected(x + torch.randn(x.shape, generator=random, dtype=dtype), x, epsilon)
        norms = (end.double() - x.double()).abs().flatten(1).sum(1)
        assert (norms <= epsilon).all() and (norms >= epsilon * (1 - 2e-6)).all()


def test_a_step_does_not_depend_on_layout_precision_of_the_gradient_or_batch(
    images: Callable[..., Any], device: str
) -> None:
    x_adv, x, grad = images((6, 3, 8, 8), device=device)
    rounded = grad.bfloat16()
    whole = moved(x_adv, x, rounded.float(), 1.0, 20, 2.0)
    assert torch.equal(moved(x_adv, x, rounded, 1.0, 20, 2.0), whole)
    assert torch.equal(moved(x_adv[2:4], x[2:4], rounded[2:4], 1.0, 20, 2.0), whole[2:4])
    last = [t.to(memory_format=torch.channels_last) for t in (x_adv, x, grad)]
    kept = moved(*last, 1.0, 20, 2.0)
    assert kept.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(kept, moved(x_adv, x, grad, 1.0, 20, 2.0), rtol=0, atol=2e-7)


def test_l1_starts_depend_on_the_sample_alone(images: Callable[..., Any], device: str) -> None:
    _, x, _ = images((8, 3, 6, 6), device=device)
    ids = torch.arange(8, device=device)
    whole = ops.random_start(x, ids, 2.0, "l1", 1, 0)
    assert torch.equal(ops.random_start(x[[6, 1]], ids[[6, 1]], 2.0, "l1", 1, 0), whole[[6, 1]])
    assert not torch.equal(ops.random_start(x, ids, 2.0, "l1", 1, 1), whole)
    assert torch.equal(ops.random_start(x, ids, 0.0, "l1", 1, 0), x)
    expected = reference.project_l1(x + ops.normal(ids, x.shape[1:], 1, 0), x, 2.0)
    torch.testing.assert_close(whole.cpu().double(), expected.cpu(), rtol=0, atol=1e-6)


def test_empty_batches_are_taken_and_wrong_arguments_named() -> None:
    none = torch.zeros(0, 3)
    ops.l1_project_(none, none.clone(), 1.0)
    ops.l1_step_(none, none.clone(), none, torch.zeros(0), torch.zeros(0).long(), 1.0)
    x, ones = torch.zeros(3, 2), torch.ones(3)
    with pytest.raises(TypeError, match="num_moved is Float, expected Long"):
        ops.l1_step_(x.clone(), x, x, ones, ones, 1.0)
    with pytest.raises(ValueError, match=r"step_size has shape \[2\], expected \[3\]"):
        ops.l1_step_(x.clone(), x, x, ones[:2], ones.long(), 1.0)
    with pytest.raises(ValueError, match="epsilon is -1"):
        ops.l1_project_(x.clone(), x, -1.0)

"""Noise: the right words, the right distributions, and the same bits whatever the batch."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from pyrobust import ops
from tests import reference

# The known answers of Random123, philox4x32-10: counter, key, words.
KNOWN_ANSWERS = [
    ([0] * 4, (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, (0xFFFFFFFF,) * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        (0xA4093822, 0x299F31D0),
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN_ANSWERS)
def test_the_reference_gives_the_known_answers_of_philox(
    counter: list[int], key: tuple[int, int], words: list[int]
) -> None:
    assert reference.philox(np.array(counter), key).tolist() == words


NOISES: list[tuple[Callable[..., Tensor], int, float]] = [
    (ops.uniform, reference.UNIFORM, 0.0),
    (ops.random_signs, reference.SIGNS, 0.0),
    (ops.normal, reference.NORMAL, 2e-6),
]


@pytest.mark.parametrize(("draw", "kind", "bound"), NOISES)
@pytest.mark.parametrize("shape", [(4,), (7,), (3, 5, 6), (1, 17, 19)])
def test_noise_is_that_of_the_reference(
    draw: Callable[..., Tensor], kind: int, bound: float, shape: tuple[int, ...], device: str
) -> None:
    ids = torch.tensor([0, 5, -1, 2**40 + 3], device=device)
    for seed, stream in [(0, 0), (12345678901234, 7), (-3, 2**32 - 1)]:
        actual = draw(ids, shape, seed, stream).cpu()
        assert actual.dtype == torch.float32
        expected = reference.noise(kind, ids.cpu(), shape, seed, stream)
        assert (actual.double() - expected).abs().max() <= bound


@given(seed=st.integers(-(2**63), 2**63 - 1), sample_id=st.integers(-(2**63), 2**63 - 1))
@example(seed=8_374_994_076_369_703_936, sample_id=284)  # a uniform number next to 1
@settings(max_examples=50)
def test_normals_hold_their_bound_for_any_seed(seed: int, sample_id: int) -> None:
    ids = torch.tensor([sample_id])
    expected = reference.noise(reference.NORMAL, ids, (64,), seed, 3)
    assert (ops.normal(ids, (64,), seed, 3).double() - expected).abs().max() < 2e-6


@pytest.mark.parametrize("draw", [ops.normal, ops.uniform, ops.random_signs])
def test_noise_depends_on_the_sample_and_not_on_its_batch(
    draw: Callable[..., Tensor], device: str
) -> None:
    ids = torch.arange(300, device=device)
    whole = draw(ids, (3, 8, 8), 1)
    assert torch.equal(draw(ids[[299, 7]], (3, 8, 8), 1), whole[[299, 7]])
    assert torch.equal(draw(ids, (3, 8, 8), 1, dtype=torch.float64), whole.double())
    assert torch.equal(draw(ids, (3, 8, 8), 1, dtype=torch.bfloat16), whole.bfloat16())


def test_noise_differs_between_seeds_streams_samples_and_uses() -> None:
    ids = torch.arange(2)
    draws = [ops.uniform(ids, (64,), seed, stream) for seed in (0, 1) for stream in (0, 1)]
    rows = torch.cat([*draws, stats_of_normals(ops.normal(ids, (64,), 0))])
    assert len({tuple(row.tolist()) for row in rows}) == len(rows)


def stats_of_normals(z: Tensor) -> Tensor:
    """Map standard normals to uniforms."""
    return 0.5 * (1 + torch.erf(z / math.sqrt(2)))


def test_noise_follows_its_distribution() -> None:
    ids = torch.arange(100)
    z = ops.normal(ids, (10_000,), 0).flatten().double().numpy()
    assert stats.kstest(z, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(z[0::2], z[1::2])[0, 1]) < 5e-3
    assert abs(stats.kurtosis(z)) < 0.02
    u = ops.uniform(ids, (10_000,), 0).flatten().double().numpy()
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    assert u.min() >= 0 and u.max() < 1
    assert abs(ops.random_signs(ids, (10_000,), 0).mean().item()) < 3e-3


@pytest.mark.parametrize("boundary", [False, True])
@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 8 / 255), ("l2", 0.5)])
@pytest.mark.parametrize("shape", [(3, 3, 9, 10), (3, 1, 4, 4), (3, 3, 32, 32)])
def test_starts_are_those_of_the_reference(
    norm: str, epsilon: float, boundary: bool, shape: tuple[int, ...],
    images: Callable[..., Any], dtype: torch.dtype, device: str,
) -> None:  # fmt: skip
    _, x, _ = images(shape, dtype=dtype, device=device)
    ids = torch.tensor([4, 0, 2**33], device=device)
    actual = ops.random_start(x, ids, epsilon, norm, 5, 2, boundary)
    assert actual.dtype == dtype
    expected = reference.random_start(x.cpu(), ids.cpu(), epsilon, norm, 5, 2, boundary)
    assert (actual.cpu().double() - expected).abs().max() < 5e-7


def test_starts_fill_the_ball_and_boundary_starts_lie_on_its_border(
    dtype: torch.dtype, device: str
) -> None:
    x = torch.full((2000, 6), 0.5, dtype=dtype, device=device)
    ids = torch.arange(2000, device=device)
    inside = (ops.random_start(x, ids, 0.25, "l2", 0, 0) - x).double().norm(dim=1).cpu().numpy()
    assert inside.max() <= 0.25 * (1 + 1e-6)
    # The share of a ball's volume within radius r is (r / epsilon)^d.
    assert stats.kstest((inside / 0.25) ** 6, "uniform").pvalue > 1e-3
    border = (ops.random_start(x, ids, 0.25, "l2", 0, 0, True) - x).double().norm(dim=1)
    assert border.max() <= 0.25 * (1 + 1e-6) and border.min() > 0.25 * (1 - 1e-6)
    box = (ops.random_start(x, ids, 0.25, "linf", 0, 0) - x).double()
    assert stats.kstest(box.flatten().cpu().numpy(), "uniform", (-0.25, 0.5)).pvalue > 1e-3
    faces = (ops.random_start(x, ids, 0.25, "linf", 0, 0, True) - x).abs().amax(dim=1)
    assert (faces == 0.25).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_start_depends_on_the_sample_and_not_on_batch_layout_or_precision(
    norm: str, images: Callable[..., Any], device: str
) -> None:
    _, x, _ = images((8, 3, 6, 6), device=device)
    ids = torch.arange(8, device=device)
    whole = ops.random_start(x, ids, 0.5, norm, 1, 0)
    assert torch.equal(ops.random_start(x[[6, 1]], ids[[6, 1]], 0.5, norm, 1, 0), whole[[6, 1]])
    last = x.to(memory_format=torch.channels_last)
    kept = ops.random_start(last, ids, 0.5, norm, 1, 0)
    assert torch.equal(kept, whole)
    assert kept.is_contiguous(memory_format=torch.channels_last)
    double = ops.random_start(x.double(), ids, 0.5, norm, 1, 0)
    torch.testing.assert_close(double.float(), whole, rtol=0, atol=2e-7)
    assert not torch.equal(ops.random_start(x, ids, 0.5, norm, 1, 1), whole)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_starts_stay_in_the_pixel_range_and_epsilon_zero_stays_at_x(
    norm: str, images: Callable[..., Any], device: str
) -> None:
    _, x, _ = images(device=device)
    ids = torch.arange(len(x), device=device)
    far = ops.random_start(x, ids, 10.0, norm, 0, 0)
    assert far.min() >= 0 and far.max() <= 1
    for boundary in (False, True):
        assert torch.equal(ops.random_start(x, ids, 0.0, norm, 0, 0, boundary), x)


def test_empty_batches_and_samples_are_taken(device: str) -> None:
    none = torch.arange(0, device=device)
    assert ops.normal(none, (3, 2), 0).shape == (0, 3, 2)
    assert ops.uniform(none[:0], (), 0).shape == (0,)
    assert ops.normal(torch.arange(2, device=device), (0,), 0).shape == (2, 0)
    for norm in ("linf", "l2"):
        start = ops.random_start(torch.zeros(0, 3, device=device), none, 0.1, norm, 0, 0)
        assert start.shape == (0, 3)


def test_wrong_arguments_are_named_with_what_was_expected() -> None:
    x, ids = torch.zeros(3, 2), torch.arange(3)
    with pytest.raises(ValueError, match=r"sample_ids has shape \[2\], expected \[3\]"):
        ops.random_start(x, ids[:2], 0.1, "linf", 0, 0)
    with pytest.raises(TypeError, match="sample_ids is Int, expected Long"):
        ops.random_start(x, ids.int(), 0.1, "linf", 0, 0)
    with pytest.raises(ValueError, match="step is -1, expected 0 to"):
        ops.random_start(x, ids, 0.1, "linf", 0, -1)
    with pytest.raises(ValueError, match="stream is 4294967296, expected 0 to"):
        ops.normal(ids, (2,), 0, 2**32)
    with pytest.raises(TypeError, match="dtype is Half, expected Float, Double or BFloat16"):
        ops.normal(ids, (2,), 0, dtype=torch.float16)

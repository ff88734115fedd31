"""Augmentations: identity at p = 0, exact blits, what colours become, differentiability."""

import math

import pytest
import torch
from torch import Tensor

from pyrobust.generators.resampling import (
    _interpolated,
    _mirrored,
    rotation,
    scaling,
    symlet_taps,
    transform,
    translation,
)
from pyrobust.generators.stylegan2 import adaptive_augmentation as module
from pyrobust.generators.stylegan2.adaptive_augmentation import NUM_NORMALS, NUM_UNIFORMS

TAPS = symlet_taps()


def augment(images: Tensor, p: Tensor, uniforms: Tensor, normals: Tensor) -> Tensor:
    return module.augment(images, p, uniforms, normals, TAPS)


def draws(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.rand(count, NUM_UNIFORMS, generator=generator),
        torch.randn(count, NUM_NORMALS, generator=generator),
    )


def smooth_image(side: int) -> Tensor:
    ramp = torch.linspace(-1, 1, side)
    return (torch.sin(3 * ramp)[:, None] + torch.cos(2 * ramp + 0.5))[None, None] / 2


def test_the_filter_is_an_orthogonal_low_pass() -> None:
    taps = TAPS
    assert taps.sum().item() == pytest.approx(1, abs=1e-12)
    for shift in range(6):
        product = (taps[2 * shift :] * taps[: 12 - 2 * shift]).sum()
        assert 2 * product.item() == pytest.approx(float(shift == 0), abs=1e-11)


@pytest.mark.parametrize(("side", "channels"), [(8, 1), (32, 3)])
def test_probability_zero_changes_nothing(side: int, channels: int) -> None:
    images = torch.rand(4, channels, side, side) * 2 - 1
    torch.testing.assert_close(
        augment(images, torch.tensor(0.0), *draws(4)), images, atol=2e-5, rtol=0
    )


def test_whole_pixels_are_moved_exactly() -> None:
    images = torch.rand(1, 1, 16, 16)
    moved = transform(images, translation(torch.tensor([6 / 16]), torch.zeros(1)), TAPS)
    torch.testing.assert_close(moved[..., :-3], images[..., 3:], atol=2e-5, rtol=0)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turns_and_mirrors_are_those_of_the_image(turns: int) -> None:
    image = smooth_image(24)
    turned = transform(image, rotation(torch.tensor([turns * math.pi / 2])), TAPS)
    inner = (..., slice(3, -3), slice(3, -3))
    torch.testing.assert_close(turned[inner], image.rot90(turns, (2, 3))[inner], atol=0.01, rtol=0)
    mirror = scaling(-torch.ones(1), torch.ones(1))
    torch.testing.assert_close(
        transform(image, mirror, TAPS)[inner], image.flip(3)[inner], atol=0.01, rtol=0
    )


def test_each_transformation_happens_as_often_as_asked() -> None:
    uniforms, normals = draws(4000)
    ones = torch.full((4000, 1, 8, 8), 0.5)  # geometry does not change a flat image
    changed = (augment(ones, torch.tensor(0.1), uniforms, normals) - 0.5).abs().amax((1, 2, 3))
    # Of the colours, grey sees brightness, contrast and the flip, which happens half of the time.
    expected = 1 - 0.9 * 0.9 * 0.95
    assert (changed > 1e-4).float().mean().item() == pytest.approx(expected, abs=0.02)


COLOURS = {
    # uniforms after the gates, as _colour reads them: gate and value in turn
    "luma flip keeps colour": ([1, 1, 0, 0.9, 1, 0.5, 1], [0.2, 0.6, 1.0], [-1.0, -0.6, -0.2]),
    "half a turn of hue": ([1, 1, 1, 0.5, 0, 0.0, 1], [0.9, 0.3, 0.3], [0.1, 0.7, 0.7]),
}


@pytest.mark.parametrize(("uniforms", "before", "after"), COLOURS.values(), ids=COLOURS)
def test_colours_by_hand(uniforms: list[float], before: list[float], after: list[float]) -> None:
    numbers = iter(torch.tensor(uniforms, dtype=torch.float32).unsqueeze(1))
    colour = module._colour(torch.tensor(0.5), numbers, iter(torch.zeros(3, 1)))
    out = module._recolour(torch.tensor(before).view(1, 3, 1, 1), colour).flatten()
    torch.testing.assert_close(out, torch.tensor(after), atol=1e-6, rtol=0)


def test_grey_images_see_what_grey_colours_would() -> None:
    grey = torch.rand(6, 1, 8, 8)
    uniforms, normals = draws(6, seed=3)
    of_grey = augment(grey, torch.tensor(0.9), uniforms, normals)
    of_colours = augment(grey.expand(-1, 3, -1, -1), torch.tensor(0.9), uniforms, normals)
    torch.testing.assert_close(of_colours, of_grey.expand(-1, 3, -1, -1), atol=1e-5, rtol=1e-5)


def test_gradients_of_gradients_flow() -> None:
    images = torch.rand(2, 1, 8, 8, requires_grad=True)
    out = augment(images, torch.tensor(0.8), *draws(2))
    (gradient,) = torch.autograd.grad(out.pow(3).sum(), images, create_graph=True)
    gradient.square().sum().backward()
    assert images.grad is not None and (images.grad != 0).any()


def test_mirroring_and_interpolating_are_those_of_torch() -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 3, 6, 9, dtype=torch.float64)
    assert _mirrored(_mirrored(images, 4, 3), 5, 2).equal(
        torch.nn.functional.pad(images, (4, 4, 5, 5), mode="reflect")
    )
    columns, rows = (torch.rand(2, 2, 7, 5, dtype=torch.float64) * 4 - 1.5).unbind()
    columns, rows = columns * 9, rows * 6  # up to two images beyond the borders
    grid = torch.stack([(2 * columns + 1) / 9 - 1, (2 * rows + 1) / 6 - 1], -1)
    expected = torch.nn.functional.grid_sample(
        images, grid, padding_mode="reflection", align_corners=False
    )
    torch.testing.assert_close(_interpolated(images, columns, rows), expected)

"""Corruptions: what they do, and that an image's corruption is its own."""

import pytest
import torch

from pyrobust import ops
from pyrobust.evaluation.corruptions import CORRUPTIONS
from pyrobust.evaluation.weather import _plasma


def images(channels: int = 3) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.rand(6, channels, 16, 12, generator=random)


IDS = torch.arange(6)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corrupted_images_are_bytes_and_do_not_depend_on_the_batch(
    name: str, channels: int
) -> None:
    x, corrupt = images(channels), CORRUPTIONS[name]
    for severity in (1, 5):
        made = corrupt(x, IDS, severity, 0)
        assert made.shape == x.shape and made.min() >= 0 and made.max() <= 1
        torch.testing.assert_close(255 * made, (255 * made).round(), rtol=0, atol=1e-4)
        assert torch.equal(corrupt(x[2:4], IDS[2:4], severity, 0), made[2:4])


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_higher_severities_change_more(name: str) -> None:
    x = images()
    low, high = ((CORRUPTIONS[name](x, IDS, s, 0) - x).square().mean() for s in (1, 5))
    assert high > low > 0


@pytest.mark.parametrize(
    "name", ["gaussian_noise", "speckle_noise", "impulse_noise", "fog", "snow"]
)
def test_noise_differs_between_images_and_seeds(name: str) -> None:
    x = torch.full((2, 1, 16, 16), 0.5)
    first, second = CORRUPTIONS[name](x, IDS[:2], 3, 0)
    assert not torch.equal(first, second)
    assert not torch.equal(CORRUPTIONS[name](x, IDS[:2], 3, 1)[0], first)


def test_blur_keeps_a_constant_image_and_the_sum_of_a_point() -> None:
    blur = CORRUPTIONS["gaussian_blur"]
    flat = torch.full((1, 1, 9, 9), 0.6)
    torch.testing.assert_close(blur(flat, IDS[:1], 5, 0), flat, rtol=0, atol=1e-6)
    point = torch.zeros(1, 1, 9, 9)
    point[0, 0, 4, 4] = 1
    made = blur(point, IDS[:1], 5, 0)
    assert made.sum() == pytest.approx(1, abs=0.05)
    assert made[0, 0, 4, 4] == pytest.approx(1 / (2 * torch.pi), abs=0.005)


def test_brightness_keeps_hue_and_contrast_keeps_the_mean() -> None:
    x = torch.tensor([0.2, 0.4, 0.1]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    brighter = CORRUPTIONS["brightness"](x, IDS[:1], 5, 0)[0, :, 0, 0]
    torch.testing.assert_close(brighter, torch.tensor([0.35, 0.7, 0.175]), rtol=0, atol=3e-3)
    grey = images(1)
    made = CORRUPTIONS["contrast"](grey, IDS, 3, 0)
    torch.testing.assert_close(made.mean((2, 3)), grey.mean((2, 3)), rtol=0, atol=2e-3)


def test_plasma_is_that_of_the_benchmark() -> None:
    """Point by point, by the loops of the diamond-square algorithm."""
    size, decay = 8, 3.0
    draws = 2 * ops.uniform(IDS[:1], (1, size, size), 7, 3)[0, 0].double() - 1
    made = torch.zeros(size, size, dtype=torch.float64)
    step, noise = size, 100.0
    while step >= 2:
        half = step // 2
        for diamonds in (False, True):
            for row in range(0, size, half):
                for column in range(0, size, half):
                    odd = (row // half % 2, column // half % 2)
                    if sum(odd) != (1 if diamonds else 2):
                        continue
                    moves = ((half, 0), (-half, 0), (0, half), (0, -half))
                    if not diamonds:
                        moves = ((half, half), (half, -half), (-half, half), (-half, -half))
                    around = sum(
                        made[(row + down) % size, (column + right) % size] for down, right in moves
                    )
                    made[row, column] = around / 4 + noise**2 * draws[row, column]
        step, noise = half, noise / decay
    expected = (made - made.min()) / (made.max() - made.min())
    torch.testing.assert_close(_plasma(IDS[:1], 5, 7, decay)[0], expected)


def test_fog_brightens_smoothly_and_keeps_the_largest_value() -> None:
    x = torch.full((2, 3, 32, 32), 0.5)
    made = CORRUPTIONS["fog"](x, IDS[:2], 1, 0)
    assert made.max() == pytest.approx(0.5, abs=0.01)  # (0.5 + 0.2) 0.5 / 0.7
    assert made.min() == pytest.approx(0.5 * 0.5 / 0.7, abs=0.01)
    steps = (made[..., 1:] - made[..., :-1]).abs().mean()
    assert steps < 0.25 * (made.max() - made.min())


def test_snow_falls_in_streaks_and_whitens() -> None:
    x = torch.zeros(6, 1, 32, 32)
    made = CORRUPTIONS["snow"](x, IDS, 3, 0)
    assert made.min() >= 0.05 - 1 / 255 and made.mean() > 0.055  # 0.1 · (1.5 · 0 + 0.5)
    down, across = (made.diff(dim=d).abs().mean() for d in (2, 3))
    assert down < across  # the wind blows from above

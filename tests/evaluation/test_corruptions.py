"""Corruptions: what they do, and that an image's corruption is its own."""

import pytest
import torch

from pyrobust.evaluation.corruptions import CORRUPTIONS


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


@pytest.mark.parametrize("name", ["gaussian_noise", "speckle_noise", "impulse_noise"])
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

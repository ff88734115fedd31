"""Rotations and translations: what they do to an image, and that the whole grid is searched."""

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as vision

from pyrobust.attacks.spatial import SpatialSettings, spatial, transformed
from tests.attacks.networks import random_images, smooth_network


def test_the_grid_holds_the_image_and_its_corners() -> None:
    grid = list(SpatialSettings().transformations())
    assert len(set(grid)) == len(grid) == SpatialSettings().size == 775
    assert (0.0, 0.0, 0.0) in grid
    assert (-30.0, 3 / 32, -3 / 32) in grid


@pytest.mark.parametrize("shape", [(1, 9, 9), (3, 8, 12)])
@pytest.mark.parametrize(("degrees", "right", "down"), [(0, 0, 0), (30, 0, 0), (-10, 0.25, -0.125)])
def test_images_are_transformed_as_torchvision_does(
    shape: tuple[int, ...], degrees: float, right: float, down: float
) -> None:
    x = random_images(2, shape=shape, dtype=torch.float32)
    shift = [right * shape[2], down * shape[1]]
    expected = vision.affine(
        x, degrees, shift, 1.0, [0.0, 0.0], interpolation=vision.InterpolationMode.BILINEAR
    )
    torch.testing.assert_close(transformed(x, degrees, right, down), expected, rtol=0, atol=2e-6)


def test_a_move_by_whole_pixels_brings_in_black() -> None:
    x = random_images(1, shape=(1, 4, 4), dtype=torch.float32)
    moved = transformed(x, 0.0, 0.25, 0.5)
    torch.testing.assert_close(moved[0, 0, 2:, 1:], x[0, 0, :2, :3])
    assert moved[0, 0, :2].abs().max() < 1e-6 and moved[0, 0, :, 0].abs().max() < 1e-6


def test_an_image_survives_only_where_no_transformation_of_the_grid_breaks_it() -> None:
    network, x = smooth_network(dtype=torch.float32), random_images(60, dtype=torch.float32)
    labels = network(x).argmax(1)
    settings = SpatialSettings(2.0, 0.01, 3, 3)
    x_adv = spatial(network, x, labels, settings)
    every = [network(transformed(x, *t)).argmax(1) == labels for t in settings.transformations()]
    robust = torch.stack(every).all(0)
    assert 5 < robust.sum() < 55, "the case tells nothing"
    assert torch.equal(network(x_adv).argmax(1) == labels, robust)


def test_a_network_that_one_transformation_alone_breaks_is_broken() -> None:
    """It fails where the pixel in the middle of the right border is bright."""

    def logits(x: Tensor) -> Tensor:
        bright = x[:, 0, 4, 8] - 0.9
        return torch.stack([-bright, bright], 1)

    x = torch.zeros(2, 1, 9, 9)
    x[0, 0, 4, 7] = 1  # one pixel to the left of it
    x[1, 0, 4, 5] = 1  # three pixels
    settings = SpatialSettings(0.0, 1 / 9, 1, 3)
    x_adv = spatial(logits, x, torch.zeros(2, dtype=torch.int64), settings)
    assert logits(x_adv).argmax(1).tolist() == [1, 0]

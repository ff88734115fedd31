"""The patch: where it may lie, which images it may make, and what it finds."""

import torch
from torch import Tensor

from pyrobust.attacks.patch import PatchSet, PatchSettings, patch
from tests.attacks.networks import random_images, smooth_network


def test_places_reach_from_border_to_border() -> None:
    settings = PatchSettings(area=0.025, num_locations=7)
    assert settings.side(32, 32) == 5
    places = list(settings.places(32, 32))
    assert len(places) == len(set(places)) == 49
    assert (0, 0) in places and (27, 27) in places
    assert list(PatchSettings(area=1.0).places(8, 8)) == [(0, 0)]
    assert PatchSettings(area=1e-6).side(8, 8) == 1


def test_the_set_holds_images_that_differ_in_one_square_inside_the_pixel_range() -> None:
    x = random_images(6, shape=(2, 8, 8), dtype=torch.float32)
    x_adv = x.clone()
    x_adv[0, 0, 2:5, 3:6] = 1  # one channel
    x_adv[1, :, 2:6, 3] = 0  # four rows
    x_adv[2, :, 0, 0] = x_adv[2, :, 7, 7] = 1  # two places far apart
    x_adv[3, 0, 2, 2] = 1.5
    x_adv[4, 0, 2, 2] = torch.nan
    allowed = PatchSet(3).contains(x_adv, x)
    assert allowed.tolist() == [True, False, False, False, False, True]
    assert PatchSet(3).distance(x_adv, x)[:2].tolist() == [9, 4]


def test_a_patch_stays_in_its_set_and_breaks_more_than_noise() -> None:
    network, x = smooth_network(dtype=torch.float32), random_images(40, dtype=torch.float32)
    labels, ids = network(x).argmax(1), torch.arange(40)

    def standing(num_steps: int) -> int:
        settings = PatchSettings(area=0.05, num_locations=3, num_steps=num_steps)
        x_adv = patch(network, x, labels, ids, settings, 0)
        assert PatchSet(settings.side(8, 8)).contains(x_adv, x).all()
        return int((network(x_adv).argmax(1) == labels).sum())

    assert standing(15) < standing(0) - 4


def test_it_finds_the_one_place_that_matters() -> None:
    """Only the corner at the bottom right counts, and only if all of it is white."""

    def logits(x: Tensor) -> Tensor:
        bright = x[:, 0, 6:, 6:].mean((1, 2)) - 0.99
        return torch.stack([-bright, bright], 1)

    x = random_images(3, shape=(1, 8, 8), dtype=torch.float32)
    labels = torch.zeros(3, dtype=torch.int64)
    settings = PatchSettings(area=4 / 64, num_locations=4, num_steps=20)
    x_adv = patch(logits, x, labels, torch.arange(3), settings, 0)
    assert (logits(x_adv).argmax(1) == 1).all()
    smaller = PatchSettings(area=1 / 64, num_locations=8, num_steps=20)
    x_adv = patch(logits, x, labels, torch.arange(3), smaller, 0)
    assert (logits(x_adv).argmax(1) == 0).all()


def test_an_images_result_does_not_depend_on_the_others() -> None:
    network, x = smooth_network(), random_images(12)
    labels, ids = network(x).argmax(1), torch.arange(12)
    settings = PatchSettings(area=0.05, num_locations=2, num_steps=5)
    whole = patch(network, x, labels, ids, settings, 1)
    part = patch(network, x[5:7], labels[5:7], ids[5:7], settings, 1)
    torch.testing.assert_close(part, whole[5:7], rtol=0, atol=1e-9)

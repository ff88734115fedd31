"""Randomised smoothing: exact binomial bounds, radii of linear networks, and abstentions."""

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torch import Tensor

from pyrobust.attacks.threat_model import NO_CLASS
from pyrobust.certificates.smoothing import Smoothing, clopper_pearson, smoothed


@pytest.mark.parametrize("trials", [1, 20, 1000])
def test_bounds_are_wrong_with_at_most_the_stated_probability(trials: int) -> None:
    counts = np.arange(trials + 1)
    bounds = clopper_pearson(counts, trials, 0.05)
    assert bounds[0] == 0 and (np.diff(bounds) > 0).all() and bounds[-1] < 1
    for p in (0.01, 0.3, 0.5, 0.9, 0.999):
        wrong = binom.pmf(counts, trials, p)[bounds > p].sum()
        assert wrong <= 0.05 + 1e-12


def half_spaces(x: Tensor) -> Tensor:
    """Class 1 where the first pixel exceeds one half."""
    gap = x.flatten(1)[:, 0] - 0.5
    return torch.stack([-gap, gap], 1)


def test_radii_of_a_half_space_are_distances_at_most() -> None:
    """Smoothing a half-space leaves it, so the true radius is the distance to its border."""
    x = torch.rand(40, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    settings = Smoothing(0.25, 50, 2000, 0.001)
    found = smoothed(half_spaces, x, torch.arange(40), settings, 0)
    distance = (x[:, 0, 0, 0] - 0.5).abs().double().numpy()
    decided = found.prediction != NO_CLASS
    assert 30 < decided.sum() < 40, "the case tells nothing"
    labels = (x[:, 0, 0, 0] > 0.5).long().numpy()
    assert (found.prediction[decided] == labels[decided]).all()
    assert (found.radius <= distance + 1e-9).all()
    near = decided & (distance < 0.4)
    assert np.abs(found.radius - distance)[near].max() < 0.06
    assert (found.radius[~decided] == 0).all()


def test_the_largest_radius_is_that_of_a_unanimous_vote() -> None:
    x = torch.zeros(1, 1, 2, 2)
    settings = Smoothing(0.5, 10, 100, 0.001)
    found = smoothed(lambda x: half_spaces(x - 10), x, torch.arange(1), settings, 0)
    assert found.radius[0] == pytest.approx(0.5 * NormalDist().inv_cdf(0.001 ** (1 / 100)))


def test_votes_of_logits_that_are_not_finite_count_for_no_class() -> None:
    x = torch.ones(2, 1, 2, 2)
    settings = Smoothing(0.1, 10, 50, 0.01)
    found = smoothed(lambda x: torch.full((len(x), 3), math.nan), x, torch.arange(2), settings, 0)
    assert (found.prediction == NO_CLASS).all()


def test_an_images_noise_depends_on_its_id_alone() -> None:
    x = torch.full((6, 1, 2, 2), 0.75)
    settings = Smoothing(0.25, 10, 100, 0.01)
    whole = smoothed(half_spaces, x, torch.arange(6), settings, 3)
    part = smoothed(half_spaces, x[4:5], torch.tensor([4]), settings, 3)
    assert part.radius[0] == whole.radius[4]
    assert len(set(whole.radius.tolist())) > 1

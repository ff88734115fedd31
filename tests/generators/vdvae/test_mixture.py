"""The discretised mixture of logistics against sums over all shades, and its draws."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from pyrobust.generators.vdvae.mixture import (
    Mixture,
    count_parameters,
    count_uniforms,
    draw,
    log_likelihood,
)


def random_parameters(channels: int, mixtures: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    count = count_parameters(channels, mixtures)
    return scale * torch.randn(1, count, 1, 1, generator=generator, dtype=torch.float64)


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def probability(parameters: Tensor, shades: tuple[int, ...]) -> float:
    """Return the probability of one pixel, by the definition and one component at a time."""
    channels = len(shades)
    mixture = Mixture.of(parameters, channels)
    weights = torch.softmax(mixture.logits, 1)[0, :, 0, 0].tolist()
    values = [(shade - 127.5) / 127.5 for shade in shades]
    pairs = [(1, 0), (2, 0), (2, 1)]
    total = 0.0
    for component, weight in enumerate(weights):
        product = weight
        for channel, (value, shade) in enumerate(zip(values, shades, strict=True)):
            mean = float(mixture.means[0, channel, component, 0, 0])
            for number, (later, earlier) in enumerate(pairs):
                if later == channel and channels == 3:
                    mean += float(mixture.shifts[0, number, component, 0, 0]) * values[earlier]
            scale = float(torch.exp(mixture.log_scales[0, channel, component, 0, 0]))
            upper = 1.0 if shade == 255 else sigmoid((value + 1 / 255 - mean) / scale)
            lower = 0.0 if shade == 0 else sigmoid((value - 1 / 255 - mean) / scale)
            product *= upper - lower
        total += product
    return total


@pytest.mark.parametrize("channels", [1, 3])
def test_the_likelihood_is_that_of_the_definition(channels: int) -> None:
    parameters = random_parameters(channels, 4)
    choices = [(0, 1, 100, 254, 255)] * channels
    for shades in itertools.product(*choices):
        x = torch.tensor(shades, dtype=torch.float64).view(1, channels, 1, 1) / 255
        expected = probability(parameters, shades)
        assert log_likelihood(parameters, x).exp().item() == pytest.approx(expected, rel=1e-8)


def test_the_probabilities_of_all_shades_sum_to_one() -> None:
    parameters = random_parameters(1, 3).repeat(256, 1, 1, 1)
    x = torch.arange(256, dtype=torch.float64).view(256, 1, 1, 1) / 255
    assert log_likelihood(parameters, x).exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_a_flat_logistic_has_a_known_likelihood() -> None:
    # One component, mean 0, scale 1: the bin of shade 255 is all above 254/255.
    x = torch.tensor([1.0]).view(1, 1, 1, 1)
    expected = np.log(1 - sigmoid(254 / 255))
    assert log_likelihood(torch.zeros(1, 3, 1, 1), x).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("mean", [-40.0, 0.0, 40.0])
def test_far_away_shades_have_finite_likelihood_and_gradient(mean: float) -> None:
    parameters = torch.tensor([0.0, mean, -7.0]).view(1, 3, 1, 1).requires_grad_(True)
    x = torch.full((1, 1, 1, 1), 200 / 255)
    value = log_likelihood(parameters, x).sum()
    value.backward()
    assert parameters.grad is not None
    assert torch.isfinite(value) and torch.isfinite(parameters.grad).all()


def test_shifts_are_read_in_the_order_of_the_published_weights() -> None:
    # Components M = 2, channels 3: logits, then means, scales and shifts of red, green, blue.
    parameters = torch.arange(20.0).view(1, 20, 1, 1)
    mixture = Mixture.of(parameters, 3)
    assert mixture.logits.flatten().tolist() == [0, 1]
    assert mixture.means[0, :, :, 0, 0].tolist() == [[2, 3], [8, 9], [14, 15]]
    assert mixture.log_scales[0, :, :, 0, 0].tolist() == [[4, 5], [10, 11], [16, 17]]
    torch.testing.assert_close(
        mixture.shifts[0, :, :, 0, 0], torch.tanh(torch.tensor([[6.0, 7], [12, 13], [18, 19]]))
    )


def test_draws_have_the_distribution_of_the_likelihood() -> None:
    count, mixtures = 200_000, 3
    parameters = random_parameters(3, mixtures, seed=1, scale=0.7)
    uniforms = torch.rand(
        count, count_uniforms(3, mixtures), 1, 1, generator=torch.Generator().manual_seed(2)
    )
    drawn = draw(parameters.float().expand(count, -1, -1, -1), uniforms, 3)
    assert drawn.abs().max() <= 1
    # Clipping makes the ends heavy exactly as the likelihood does: compare coarse bins of red.
    shades = torch.arange(256, dtype=torch.float64)
    mixture = Mixture.of(parameters, 3)
    red = torch.cat(
        [mixture.logits, mixture.means[:, 0], mixture.log_scales[:, 0]], 1
    )  # a mixture of one channel
    mass = log_likelihood(red.repeat(256, 1, 1, 1), (shades / 255).view(-1, 1, 1, 1)).exp()
    expected = mass.view(8, 32).sum(1)
    places = (drawn[:, 0, 0, 0].double() * 127.5 + 127.5).round().clamp(0, 255).long() // 32
    seen = torch.bincount(places, minlength=8) / count
    assert (seen - expected).abs().max() < 0.005


@pytest.mark.parametrize(("channels", "mixtures", "count"), [(3, 10, 100), (1, 10, 30), (1, 3, 9)])
def test_parameters_of_a_pixel_are_counted(channels: int, mixtures: int, count: int) -> None:
    assert count_parameters(channels, mixtures) == count

"""StyleGAN2's layers against plain definitions, and the sizes of its networks."""

import math

import pytest
import torch
import torch.nn.functional as F

from pyrobust.generators.resampling import binomial_taps, enlarge, shrink, smooth
from pyrobust.generators.stylegan2.discriminator import DiscriminatorNetwork, batch_deviation
from pyrobust.generators.stylegan2.layers import (
    Linear,
    leaky_relu,
    modulated_conv,
    normalize_second_moment,
)
from pyrobust.generators.stylegan2.stylegan2 import discriminator_loss, generator_loss, r1_penalty
from pyrobust.generators.stylegan2.synthesis import GeneratorNetwork

TAPS = binomial_taps()


def test_the_networks_for_conditional_cifar10_have_the_published_sizes() -> None:
    with torch.device("meta"):
        generator = GeneratorNetwork(32, 3, 10, 512, 512, 2)
        discriminator = DiscriminatorNetwork(32, 3, 10, 512, 32)
    assert sum(parameter.numel() for parameter in generator.parameters()) == 20_215_315
    assert sum(parameter.numel() for parameter in discriminator.parameters()) == 23_089_664


def test_images_and_scores_have_the_right_shapes() -> None:
    torch.manual_seed(0)
    generator = GeneratorNetwork(8, 1, 3, 6, 8, 2)
    assert generator.num_normals == 6 + 16 + 2 * 64
    labels = torch.arange(12) % 3
    images = generator(torch.randn(12, generator.num_normals), labels)
    assert images.shape == (12, 1, 8, 8)
    assert DiscriminatorNetwork(8, 1, 3, 8, 4)(images, labels).shape == (12,)


def test_an_untrained_generator_ignores_the_noise_and_sees_latent_and_class() -> None:
    torch.manual_seed(0)
    generator = GeneratorNetwork(8, 1, 3, 6, 8, 2)
    normals, labels = torch.randn(1, generator.num_normals), torch.zeros(1, dtype=torch.long)
    image = generator(normals, labels)
    noisy = torch.cat([normals[:, :6], torch.randn(1, generator.num_normals - 6)], 1)
    assert torch.equal(generator(noisy, labels), image)
    assert not torch.equal(generator(-normals, labels), image)
    assert not torch.equal(generator(normals, labels + 1), image)


def test_filters_by_hand() -> None:
    # Taps 1 3 3 1: between the pixels 8 and 0 the enlarged row is 6, 6, 2, 0.
    x = torch.tensor([8.0, 0.0]).expand(1, 1, 2, 2)
    assert enlarge(x, TAPS)[0, 0, 1].tolist() == [6.0, 6.0, 2.0, 0.0]
    corner = torch.zeros(1, 1, 4, 4)
    corner[..., 0, 0] = 64.0
    assert shrink(corner, TAPS)[0, 0].tolist() == [[9.0, 0.0], [0.0, 0.0]]
    flat = torch.ones(1, 2, 6, 6)
    assert torch.equal(enlarge(flat, TAPS)[..., 2:-2, 2:-2], torch.ones(1, 2, 8, 8))
    assert torch.equal(smooth(flat, TAPS, (0, 0, 0, 0)), torch.ones(1, 2, 3, 3))


def test_enlarging_is_the_filter_over_pixels_and_zeros() -> None:
    x = torch.randn(2, 3, 5, 4)
    spread = torch.zeros(2, 3, 10, 8)
    spread[..., ::2, ::2] = x
    expected = smooth(spread, TAPS, (2, 1, 2, 1), gain=2.0)
    torch.testing.assert_close(enlarge(x, TAPS), expected)
    even = x[..., :4, :]
    smoothed = smooth(even, TAPS, (1, 2, 1, 2))
    torch.testing.assert_close(shrink(even, TAPS), smoothed[..., ::2, ::2])


@pytest.mark.parametrize("double", [False, True])
def test_modulation_equals_weights_of_each_image(double: bool) -> None:
    torch.manual_seed(0)
    x, weight, styles = torch.randn(2, 3, 5, 5), torch.randn(4, 3, 3, 3), torch.randn(2, 3)
    for out, image, style in zip(
        modulated_conv(x, weight, styles, TAPS if double else None), x, styles, strict=True
    ):
        own = weight * style[None, :, None, None]
        own = own / own.square().sum((1, 2, 3), keepdim=True).add(1e-8).sqrt()
        if double:
            spread = torch.zeros(1, 3, 11, 11)
            spread[..., 1:11:2, 1:11:2] = image
            spread = F.pad(spread, (1, 1, 1, 1))
            expected = F.conv2d(spread, own.flip(2, 3))
            expected = smooth(expected, TAPS, (1, 1, 1, 1), gain=2.0)
        else:
            expected = F.conv2d(image[None], own, padding=1)
        torch.testing.assert_close(out[None], expected, rtol=1e-4, atol=1e-5)


def test_linear_layers_learn_at_an_equal_rate() -> None:
    layer = Linear(4, 1, rate=0.5, bias=3.0)
    with torch.no_grad():
        layer.weight.fill_(2.0)
    # weight × 0.5 / sqrt(4), bias × 0.5
    assert layer(torch.ones(1, 4)).item() == pytest.approx(4 * 2 * 0.5 / 2 + 1.5)
    assert Linear(100, 100, rate=0.01).weight.std().item() == pytest.approx(100, rel=0.05)


def test_the_leaky_relu_keeps_the_variance_and_clamps() -> None:
    x = torch.tensor([-1.0, 1.0, 1e6])
    expected = torch.tensor([-0.2 * math.sqrt(2), math.sqrt(2), 256.0])
    torch.testing.assert_close(leaky_relu(x), expected)


def test_rows_are_scaled_to_a_mean_square_of_one() -> None:
    x = normalize_second_moment(torch.tensor([[3.0, 4.0]]))
    torch.testing.assert_close(x, torch.tensor([[3.0, 4.0]]) / math.sqrt(12.5))


def test_the_deviation_is_that_of_each_group() -> None:
    # Four images in groups of two: 0 and 2 share one, 1 and 3 the other.
    x = torch.tensor([0.0, 5.0, 2.0, 5.0]).view(4, 1, 1, 1).expand(4, 3, 2, 2)
    deviation = batch_deviation(x, 2)
    assert deviation.shape == (4, 1, 2, 2)
    torch.testing.assert_close(
        deviation[:, 0, 0, 0], torch.tensor([1.0, 1e-4, 1.0, 1e-4]), rtol=1e-3, atol=1e-6
    )


def test_logistic_losses() -> None:
    real, fake = torch.tensor([0.0]), torch.tensor([1.0])
    assert discriminator_loss(real, fake).item() == pytest.approx(
        math.log(2) + math.log(1 + math.e)
    )
    assert generator_loss(fake).item() == pytest.approx(math.log(1 + 1 / math.e))


def test_the_penalty_of_a_linear_score_is_half_its_squared_weights() -> None:
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    images = torch.randn(5, 1, 2, 2)
    penalty = r1_penalty(lambda x: (x.flatten(1) * weight).sum(1), images)
    assert penalty.item() == pytest.approx(15)
    penalty.backward()
    torch.testing.assert_close(weight.grad, torch.tensor([1.0, 2.0, 3.0, 4.0]))

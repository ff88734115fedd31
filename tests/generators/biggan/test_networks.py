"""BigGAN: sizes, losses, standing statistics, spectral norm."""

import copy

import pytest
import torch

from pyrobust.generators.biggan.biggan import discriminator_loss, generator_loss
from pyrobust.generators.biggan.networks import (
    DiscriminatorNetwork,
    GeneratorNetwork,
    StandingBatchNorm,
    add_spectral_norm,
    gathered_statistics,
    initialize,
    state_without_spectral_norm,
)

LABELS = torch.arange(12) % 3


def make_generator(orthogonal: bool = True) -> GeneratorNetwork:
    network = GeneratorNetwork(8, 1, 3, 5, 8)
    initialize(network, torch.Generator().manual_seed(0), orthogonal)
    return network


def test_the_networks_for_cifar10_have_the_published_sizes() -> None:
    with torch.device("meta"):
        generator = GeneratorNetwork(32, 3, 10, 128, 256)
        discriminator = DiscriminatorNetwork(32, 3, 10, 256)
    assert sum(parameter.numel() for parameter in generator.parameters()) == 4_304_387
    assert sum(parameter.numel() for parameter in discriminator.parameters()) == 4_207_361


def test_images_and_scores_have_the_right_shapes() -> None:
    images = make_generator()(torch.randn(12, 5), LABELS)
    assert images.shape == (12, 1, 8, 8) and images.abs().max() <= 1
    assert DiscriminatorNetwork(8, 1, 3, 8)(images, LABELS).shape == (12,)


def test_the_class_decides_the_image_and_the_score() -> None:
    generator = make_generator().eval()
    latents = torch.randn(1, 5).repeat(3, 1)
    images = generator(latents, torch.arange(3))
    assert (images[0] - images[1]).abs().max() > 1e-4
    scores = DiscriminatorNetwork(8, 1, 3, 8)(images[:1].repeat(3, 1, 1, 1), torch.arange(3))
    assert len(set(scores.tolist())) == 3


def test_hinge_losses() -> None:
    real, fake = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-2.0, 0.0, 1.0])
    assert discriminator_loss(real, fake).item() == pytest.approx((0.5 + 2) / 3 + (1 + 2) / 3)
    assert generator_loss(fake).item() == pytest.approx(1 / 3)


def test_standing_statistics_are_the_mean_over_the_batches_and_training_leaves_them() -> None:
    norm = StandingBatchNorm(1)
    batches = [torch.tensor([1.0, 3.0]), torch.tensor([4.0, 10.0])]
    for batch in batches:
        out = norm(batch.view(2, 1, 1, 1))
        torch.testing.assert_close(out.flatten(), torch.tensor([-1.0, 1.0]), atol=1e-4, rtol=0)
    assert (norm.standing_mean.item(), norm.standing_var.item()) == (0, 1)
    with gathered_statistics(norm):
        for batch in batches:
            norm(batch.view(2, 1, 1, 1))
    assert norm.standing_mean.item() == pytest.approx((2 + 7) / 2)
    assert norm.standing_var.item() == pytest.approx((2 + 18) / 2)
    norm.eval()
    assert norm(torch.full((1, 1, 1, 1), 4.5)).item() == pytest.approx(0, abs=1e-6)


def test_spectral_norm_makes_the_largest_singular_value_one() -> None:
    network = make_generator(orthogonal=False)
    add_spectral_norm(network, embeddings=False)
    for _ in range(50):  # each pass is a step of the power iteration
        network(torch.randn(12, 5), LABELS)
    for layer in (network.linear, network.conv, network.blocks[0].conv1):
        largest = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
        assert largest.item() == pytest.approx(1, abs=0.02)
    gains = network.blocks[0].bn1.gain.weight
    assert torch.linalg.matrix_norm(gains, 2) < 0.5  # the generator's embeddings stay as they are


def test_a_network_without_spectral_norm_can_take_over() -> None:
    network, plain = make_generator(), make_generator()
    add_spectral_norm(network, embeddings=False)
    average = copy.deepcopy(network)
    for model in (average, network):
        model.eval()
        plain.load_state_dict(state_without_spectral_norm(model))
        latents = torch.randn(12, 5)
        assert torch.equal(plain.eval()(latents, LABELS), model(latents, LABELS))


@pytest.mark.parametrize("orthogonal", [True, False])
def test_initial_weights_are_those_of_the_seed(orthogonal: bool) -> None:
    first, second = make_generator(orthogonal).state_dict(), make_generator(orthogonal).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    weight = first["linear.weight"]
    if orthogonal:
        torch.testing.assert_close(weight.T @ weight, torch.eye(5), atol=1e-5, rtol=0)
    else:
        assert weight.std().item() == pytest.approx(0.02, rel=0.1)

"""StyleGAN2's training: lazy regularisation, no hidden copies to the device, exact styles."""

from pathlib import Path

import pytest
import torch

from pyrobust.data.dataset import Dataset
from pyrobust.generators.stylegan2.stylegan2 import StyleGan2Generator, StyleGan2Training
from pyrobust.generators.stylegan2.synthesis import GeneratorNetwork
from tests.generators.fits import fit_of
from tests.generators.test_network_training import settings_of


@pytest.fixture
def training(bars: Dataset, tmp_path: Path) -> StyleGan2Training:
    """A training whose augmentations happen half of the time."""
    settings = settings_of("stylegan2", augment_target=0.6, learning_rate=0.0025)
    found = StyleGan2Generator.start_training(fit_of(bars, settings, tmp_path))
    assert isinstance(found, StyleGan2Training)
    found._adaptive.p += 0.5
    return found


def test_rates_and_betas_are_those_of_lazy_regularisation(training: StyleGan2Training) -> None:
    training.step(0)
    found = {
        name: training.parts[name]._optimizer.param_groups[0]  # type: ignore[attr-defined]
        for name in ("generator", "discriminator")
    }
    assert found["generator"]["lr"] == pytest.approx(0.0020)
    assert found["generator"]["betas"] == (0, pytest.approx(0.99**0.8))
    assert found["discriminator"]["lr"] == pytest.approx(0.0025 * 16 / 17)
    assert found["discriminator"]["betas"] == (0, pytest.approx(0.99 ** (16 / 17)))


def test_no_tensor_is_made_from_python_numbers_in_an_update(
    training: StyleGan2Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    training.step(0)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("on a GPU this waits for all kernels before it")

    for owner, name in ((torch, "tensor"), (torch, "as_tensor"), (torch.Tensor, "new_tensor")):
        monkeypatch.setattr(owner, name, refuse)
    training.step(16)  # with the penalty


def test_generator_and_discriminator_start_from_different_numbers(
    training: StyleGan2Training,
) -> None:
    generator = torch.cat([value.flatten() for value in training._generator.parameters()])
    discriminator = torch.cat([value.flatten() for value in training._discriminator.parameters()])
    common = set(generator.tolist()) & set(discriminator.tolist())
    assert len(common) < 5  # zeros and ones of the biases


def test_in_bfloat16_styles_and_demodulation_stay_in_float32() -> None:
    torch.manual_seed(0)
    network = GeneratorNetwork(8, 1, 3, 6, 8, 2)
    normals, labels = torch.randn(12, network.num_normals), torch.arange(12) % 3
    styles = network.mapping(normals[:, :6], labels)
    with torch.autocast("cpu", torch.bfloat16):
        assert network.mapping(normals[:, :6], labels).equal(styles)
        images = network(normals, labels).float()
    exact = network(normals, labels)
    assert not images.equal(exact)
    error = (images - exact).detach().square().mean().sqrt() / exact.detach().std()
    assert float(error) < 0.02

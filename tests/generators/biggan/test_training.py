"""BigGAN's training: standing statistics over all classes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pyrobust.config import parse_settings
from pyrobust.config.data import DatasetSettings
from pyrobust.config.generators import GeneratorSettings
from pyrobust.data.dataset import Dataset
from pyrobust.data.prepare import make_dataset
from pyrobust.generators.biggan import biggan
from pyrobust.generators.biggan.biggan import BigGanGenerator, BigGanTraining
from tests.generators.fits import fit_of


@pytest.fixture(scope="module")
def hundred(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Four images of 8×8 of each of 100 classes."""
    folder = tmp_path_factory.mktemp("hundred")
    raw = folder / "raw" / "many"
    raw.mkdir(parents=True)
    (raw / "classes.txt").write_text("\n".join(f"class{number}" for number in range(100)))
    images = np.random.default_rng(0).integers(0, 255, (400, 8, 8, 1), dtype=np.uint8)
    for split in ("train", "test"):
        np.savez(raw / f"{split}.npz", image=images, label=np.arange(400) % 100)
    make_dataset("many", raw.parent, folder / "dataset", DatasetSettings(validation_size=100))
    return Dataset.open(folder / "dataset")


@pytest.fixture
def training(hundred: Dataset, tmp_path: Path) -> BigGanTraining:
    settings = {"type": "biggan", "preset": "tiny", "batch_size": 8, "width": 8, "latent_size": 4}
    fit = fit_of(hundred, parse_settings(GeneratorSettings, settings), tmp_path)
    found = BigGanGenerator.start_training(fit)
    assert isinstance(found, BigGanTraining)
    return found


def test_standing_statistics_see_every_class_in_batches_that_differ(
    training: BigGanTraining,
) -> None:
    batches = [training.statistics_batch(number) for number in range(biggan._STANDING_BATCHES)]
    classes = torch.stack([labels for _, labels in batches])
    counts = torch.bincount(classes.flatten(), minlength=100)
    # 1,600 draws of 100 classes: 16 of each, deviation 4.
    assert len(counts) == 100 and counts.min() >= 3 and counts.max() <= 35
    assert len({tuple(labels.tolist()) for labels in classes}) == len(batches)
    latents = torch.cat([latents for latents, _ in batches])
    assert len(latents.unique(dim=0)) == len(latents)


def test_the_weights_that_sample_hold_the_statistics_of_those_batches(
    training: BigGanTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(biggan, "_STANDING_BATCHES", 3)
    seen = []
    original = BigGanTraining.statistics_batch

    def noting(self: BigGanTraining, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(number)
        return original(self, number)

    monkeypatch.setattr(BigGanTraining, "statistics_batch", noting)
    weights = training.weights()
    assert seen == [0, 1, 2] * 2
    network = training.average.network
    states = []
    for number in range(3):
        latents, _ = original(training, number)
        states.append(network.linear(latents).unflatten(1, (-1, 4, 4)).mean((0, 2, 3)))
    expected = torch.stack(states).mean(0)
    torch.testing.assert_close(weights["average.blocks.0.bn1.norm.standing_mean"], expected)

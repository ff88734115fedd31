"""A tiny data set, a Gaussian fitted on it, a labeller that needs no training, and selections."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pyrobust.analysis.near_copies import TrainingDistances
from pyrobust.config import parse_settings
from pyrobust.config.data import DatasetSettings, SelectionSettings
from pyrobust.config.generators import GeneratorSettings
from pyrobust.data.dataset import Dataset
from pyrobust.data.prepare import make_dataset
from pyrobust.data.store import SampleStore
from pyrobust.generators.fitting import fit_generator
from pyrobust.generators.pseudo_labels import label_part
from pyrobust.generators.sampling import sample_part
from pyrobust.generators.selecting import select_parts
from pyrobust.models import ModelSpec, build_model, save_model
from pyrobust.models.files import WEIGHTS
from tests.generators.fits import RUNTIME

CLASSES = ("ant", "bee", "cow")


def write_dataset(folder: Path, train_images: np.ndarray, train_labels: np.ndarray) -> Dataset:
    """Make a data set of three classes through the .npz layout."""
    raw = folder / "raw" / "animals"
    raw.mkdir(parents=True)
    (raw / "classes.txt").write_text("\n".join(CLASSES))
    np.savez(raw / "train.npz", image=train_images, label=train_labels)
    np.savez(raw / "test.npz", image=train_images[:9], label=train_labels[:9])
    settings = DatasetSettings(validation_size=3)
    make_dataset("animals", raw.parent, folder / "dataset", settings)
    return Dataset.open(folder / "dataset")


@pytest.fixture(scope="session")
def make_animals(tmp_path_factory) -> Callable[..., Dataset]:
    """Return a function that makes images (N, 3, 4, 1) whose shades depend on the class."""

    def make(count: int, seed: int = 0) -> Dataset:
        rng = np.random.default_rng(seed)
        labels = np.arange(count) % 3
        shades = rng.normal(40 + 30 * labels[:, None, None, None], 25, (count, 3, 4, 1))
        shades[:, 1:] += shades[:, :1] / 3
        images = np.clip(shades, 0, 255).astype(np.uint8)
        return write_dataset(tmp_path_factory.mktemp("animals"), images, labels)

    return make


@pytest.fixture(scope="session")
def animals(make_animals) -> Dataset:
    """303 images of 12 pixels: many more images than pixels in each class."""
    return make_animals(303)


@pytest.fixture(scope="session")
def bars(tmp_path_factory) -> Dataset:
    """90 images of 8×8 with a bright bar, whose place tells the class."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (90, 8, 8, 1), dtype=np.uint8)
    labels = np.arange(90) % 3
    for label in range(3):
        images[labels == label, :, 1 + 2 * label] += 150
    return write_dataset(tmp_path_factory.mktemp("bars"), images, labels)


@pytest.fixture(scope="session")
def gaussian(animals, tmp_path_factory) -> Path:
    """Folder of a fitted Gaussian."""
    folder = tmp_path_factory.mktemp("gaussian")
    settings = GeneratorSettings(jitter=1e-4, part_size=1000)
    fit_generator(animals.path, folder, settings, RUNTIME)
    return folder


@pytest.fixture(scope="session")
def labeller(animals, tmp_path_factory) -> Path:
    """Folder of a network that is trained just enough to know all three classes."""
    torch.manual_seed(0)
    spec = ModelSpec("wrn-10-1", "silu", 3, (3, 4, 1), animals.mean, animals.std)
    model = build_model(spec).train()
    x = torch.from_numpy(animals.train.images()).permute(0, 3, 1, 2).float() / 255
    labels = torch.from_numpy(animals.train.labels())
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(25):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("labeller")
    save_model(folder / WEIGHTS, model, spec)
    return folder


@pytest.fixture
def measure(animals):
    """Return what measures the distances to the training images."""
    return TrainingDistances(animals, 1 << 30)


@pytest.fixture
def make_parts(gaussian, labeller, measure, tmp_path):
    """Return a function that makes `num_parts` parts, labelled and measured, in a folder."""

    def make(num_parts: int, part_size: int, distances: bool = False) -> Path:
        folder = tmp_path / f"{num_parts}x{part_size}"
        for part in range(num_parts):
            samples, labels = folder / "parts" / str(part), folder / "labels" / str(part)
            sample_part(gaussian, part, part_size, samples)
            label_part(samples, labeller, labels, "cpu")
            if distances:
                output = folder / "distances" / str(part)
                measure.measure(SampleStore.open(samples), output)
        return folder

    return make


@pytest.fixture
def select(gaussian, labeller, measure, tmp_path):
    """Return a function that selects from parts and returns the folder of the result."""

    def run(folder: Path, num_parts: int, num_samples: int, name: str = "out", **values) -> Path:
        settings = parse_settings(SelectionSettings, values)
        parts, labels, output = folder / "parts", folder / "labels", tmp_path / name
        distances = (folder / "distances", measure) if settings.min_distance else ()
        inputs = (parts, labels, num_parts, num_samples, output, settings, "cpu", *distances)
        select_parts(gaussian, labeller, *inputs)
        return output

    return run

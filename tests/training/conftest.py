"""A tiny data set and tiny generated samples, as the verbs of the data stages write them."""

from pathlib import Path

import numpy as np
import pytest

from pyrobust.config.data import DatasetSettings
from pyrobust.data.dataset import Dataset
from pyrobust.data.prepare import make_dataset
from pyrobust.data.store import StoreWriter


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the digits data set: 8×8 pixels, 10 classes, 60 validation images."""
    folder = tmp_path_factory.mktemp("data") / "digits"
    settings = DatasetSettings(
        layout="digits", validation_size=60, test_size=100, crop_padding=1, flip=False
    )
    make_dataset("digits", folder.parent, folder, settings)
    return folder


@pytest.fixture(scope="session")
def samples(digits: Path) -> Path:
    """Folder of 200 noisy copies of training digits with their labels."""
    train = Dataset.open(digits).train
    images, labels = train.images()[:200].astype(np.int16), train.labels()[:200]
    noise = np.random.default_rng(0).integers(-20, 21, images.shape)
    folder = digits.parent / "samples"
    writer = StoreWriter(folder, train.image_shape, train.class_names, 200, {}, "the tests")
    writer.append((images + noise).clip(0, 255).astype(np.uint8), labels)
    writer.finish()
    return folder

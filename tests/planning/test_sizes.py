"""Sizes of a plan against the columns that are written."""

from pathlib import Path

import numpy as np
import pytest

from pyrobust.config.data import DatasetSettings
from pyrobust.config.generators import GeneratorSettings
from pyrobust.data.dataset import Dataset
from pyrobust.data.feature_set import FeatureWriter
from pyrobust.data.labels import LabelWriter
from pyrobust.data.prepare import make_dataset
from pyrobust.data.store import StoreWriter
from pyrobust.generators.gaussian import GaussianGenerator
from pyrobust.planning import sizes
from tests.generators.fits import fit_of

SHAPE = (32, 32, 3)
CLASSES = tuple("0123456789")
COUNT = 100


def row_bytes(folder: Path) -> int:
    """Return the bytes of a row, from the files of a folder of `COUNT` rows."""
    written = [np.load(file) for file in sorted(folder.rglob("*.npy"))]
    assert all(len(array) == COUNT for array in written)
    return sum(array.nbytes for array in written) // COUNT


def write_store(folder: Path, labelled: bool, selected: bool) -> Path:
    writer = StoreWriter(
        folder, SHAPE, CLASSES, COUNT, {}, "a test", labelled, selected, identified=selected
    )
    numbers = np.arange(COUNT)
    writer.append(
        np.zeros((COUNT, *SHAPE), np.uint8),
        numbers % 10 if labelled else None,
        np.ones(COUNT, np.float32) if selected else None,
        numbers if selected else None,
    )
    writer.finish()
    return folder


@pytest.mark.parametrize("conditional", [False, True])
def test_rows_are_as_large_as_those_that_stages_write(tmp_path: Path, conditional: bool) -> None:
    generator = GeneratorSettings(type="edm", conditional=conditional)
    original = write_store(tmp_path / "original", labelled=True, selected=False)
    selected = write_store(tmp_path / "selected", labelled=True, selected=True)
    sample = write_store(tmp_path / "sample", labelled=conditional, selected=False)
    assert sizes.original_row(SHAPE) == row_bytes(original)
    assert sizes.selected_row(SHAPE) == row_bytes(selected)
    assert sizes.sample_row(SHAPE, generator) == row_bytes(sample)

    writer = LabelWriter(tmp_path / "labels", CLASSES, COUNT, 0, {}, conditional)
    scores = np.ones(COUNT, np.float32)
    writer.append(np.zeros(COUNT, np.int64), scores, scores if conditional else None)
    writer.finish()
    assert sizes.label_row(generator) == row_bytes(tmp_path / "labels")


@pytest.mark.parametrize(
    ("extractor", "dtype", "dimensions", "num_logits"),
    [
        ("labeller", "float32", 640, 10),
        ("inception", "float16", 2048, 1008),
        ("lpips", "float16", 99, 0),
    ],
)
def test_features_have_the_logits_of_their_extractor(
    tmp_path: Path, extractor: str, dtype: str, dimensions: int, num_logits: int
) -> None:
    writer = FeatureWriter(
        tmp_path, COUNT, dimensions, num_logits, CLASSES, True, dtype, COUNT, {"extractor": {}}
    )
    logits = np.zeros((COUNT, num_logits), np.float32) if num_logits else None
    numbers = np.arange(COUNT)
    writer.append(np.zeros((COUNT, dimensions), np.float32), numbers, logits, numbers % 10)
    writer.finish()
    planned = sizes.feature_row(extractor, dtype, dimensions, num_classes=10)
    assert planned == row_bytes(tmp_path)


@pytest.mark.parametrize("test_size", [100, 1400])  # more and fewer images a class than values
def test_a_gaussian_is_as_large_as_its_arrays(tmp_path: Path, test_size: int) -> None:
    chosen = DatasetSettings(layout="digits", validation_size=64, test_size=test_size)
    make_dataset("digits", tmp_path, tmp_path / "digits", chosen)
    dataset = Dataset.open(tmp_path / "digits")
    weights = GaussianGenerator.fit(fit_of(dataset, GeneratorSettings(), tmp_path)).weights
    planned = sizes.gaussian(64, dataset.train.count, dataset.num_classes)
    assert planned == sum(array.nbytes for array in weights.values())

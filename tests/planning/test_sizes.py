"""Sizes of a plan against the columns that are written."""

import math
from pathlib import Path

import numpy as np
import pytest

from pyrobust.config.data import DatasetSettings
from pyrobust.config.generators import GeneratorSettings
from pyrobust.data import feature_set, labels, store
from pyrobust.data.dataset import Dataset
from pyrobust.data.prepare import make_dataset
from pyrobust.data.shards import Column
from pyrobust.generators.gaussian import GaussianGenerator
from pyrobust.generators.registry import GENERATORS
from pyrobust.planning import sizes
from tests.generators.fits import fit_of

SHAPE = (32, 32, 3)


def row_bytes(columns: dict[str, Column]) -> int:
    return sum(np.dtype(c.dtype).itemsize * math.prod(c.shape) for c in columns.values())


def settings_of(kind: str, **values: bool) -> GeneratorSettings:
    path = {"path": "files"} if kind == "imported" else {}
    return GeneratorSettings.model_validate({"type": kind, **path, **values})


@pytest.mark.parametrize("kind", [kind for kind in GENERATORS if kind != "edm"])
def test_generators_are_conditional_as_their_classes_say(kind: str) -> None:
    assert sizes.is_conditional(settings_of(kind)) == GENERATORS[kind].conditional


@pytest.mark.parametrize("conditional", [False, True])
def test_rows_have_the_columns_that_stages_write(conditional: bool) -> None:
    generator = settings_of("edm", conditional=conditional)
    assert sizes.original_row(SHAPE) == row_bytes(store._columns(SHAPE, True, False, False))
    assert sizes.selected_row(SHAPE) == row_bytes(store._columns(SHAPE, True, True, True))
    sample = store._columns(SHAPE, conditional, False, False)
    assert sizes.sample_row(SHAPE, generator) == row_bytes(sample)
    assert sizes.label_row(generator) == row_bytes(labels._columns(conditional))


@pytest.mark.parametrize(
    ("extractor", "dtype", "dimensions", "num_logits"),
    [
        ("labeller", "float32", 640, 10),
        ("inception", "float16", 2048, 1008),
        ("lpips", "float16", 99, 0),
    ],
)
def test_features_have_the_logits_of_their_extractor(
    extractor: str, dtype: str, dimensions: int, num_logits: int
) -> None:
    columns = feature_set._columns(dimensions, num_logits, True, dtype)
    assert sizes.feature_row(extractor, dtype, dimensions, num_classes=10) == row_bytes(columns)


@pytest.mark.parametrize("test_size", [100, 1400])  # more and fewer images a class than values
def test_a_gaussian_is_as_large_as_its_arrays(tmp_path: Path, test_size: int) -> None:
    chosen = DatasetSettings(layout="digits", validation_size=64, test_size=test_size)
    make_dataset("digits", tmp_path, tmp_path / "digits", chosen)
    dataset = Dataset.open(tmp_path / "digits")
    weights = GaussianGenerator.fit(fit_of(dataset, GeneratorSettings(), tmp_path)).weights
    planned = sizes.gaussian(64, dataset.train.count, dataset.num_classes)
    assert planned == sum(array.nbytes for array in weights.values())

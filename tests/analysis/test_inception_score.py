import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_fidelity.metric_isc import isc_features_to_metric

from pyrobust.analysis.inception_score import _splits, inception_score
from tests.analysis.making import make_features


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([[0, 0], [0, 0]], 1.0),  # nothing can be told apart
        ([[500, 0], [0, 500]], 2.0),  # two classes, each image surely one of them
        ([[500, 0], [500, 0]], 1.0),  # one class only
    ],
)
def test_small_cases(logits: list[list[float]], expected: float, tmp_path: Path) -> None:
    features = make_features(tmp_path, np.zeros((2, 3)), logits=np.array(logits))
    assert inception_score(features, num_splits=1) == (pytest.approx(expected), 0.0)


@pytest.mark.parametrize(("count", "splits"), [(1000, 10), (8999, 7)])
def test_it_equals_torch_fidelity(count: int, splits: int, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    logits = (3 * random.standard_normal((count, 12))).astype(np.float32)
    features = make_features(tmp_path, np.zeros((count, 3)), logits=logits)
    expected = isc_features_to_metric(torch.from_numpy(logits), splits)
    mean, std = inception_score(features, splits)
    assert mean == pytest.approx(expected["inception_score_mean"], rel=1e-9)
    assert std == pytest.approx(expected["inception_score_std"], rel=1e-9)


def test_splits_take_few_bytes_an_image() -> None:
    tracemalloc.start()
    try:
        split = _splits(200_000, 10)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert np.bincount(split).tolist() == [20_000] * 10
    assert peak < 10 * len(split)

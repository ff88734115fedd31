"""Selection on labels and scores."""

import numpy as np
import pytest

from pyrobust.data.selection import (
    best_of_each_class,
    class_counts,
    class_quotas,
    first_of_each_class,
)
from tests.memory import peak_bytes


@pytest.mark.parametrize(
    ("num_samples", "num_classes", "expected"),
    [(6, 3, [2, 2, 2]), (7, 3, [3, 2, 2]), (8, 3, [3, 3, 2]), (1, 3, [1, 0, 0])],
)
def test_a_remainder_goes_to_the_first_classes(num_samples, num_classes, expected):
    assert class_quotas(num_samples, num_classes).tolist() == expected


LABELS = [0, 1, 1, 0, 1, 0, 0, 1]
SCORES = [0.9, 0.5, 0.7, 0.9, 0.5, 0.2, 0.9, 0.5]


@pytest.mark.parametrize(
    ("quotas", "floor", "expected"),
    [
        ([2, 2], 0.0, [0, 1, 2, 3]),
        ([1, 3], 0.0, [0, 1, 2, 4]),
        ([0, 1], 0.0, [1]),
        ([4, 4], 0.0, [0, 1, 2, 3, 4, 5, 6, 7]),
        ([9, 0], 0.0, [0, 3, 5, 6]),
        ([3, 1], 0.6, [0, 2, 3, 6]),
    ],
)
def test_the_first_of_each_class_are_kept(quotas, floor, expected):
    labels, scores = np.array(LABELS, np.uint16), np.array(SCORES, np.float32)
    kept = first_of_each_class(labels, scores >= floor, np.array(quotas))
    assert kept.tolist() == expected


@pytest.mark.parametrize(
    ("quotas", "floor", "expected"),
    [
        ([2, 2], 0.0, [0, 1, 2, 3]),
        ([2, 1], 0.0, [0, 2, 3]),
        ([1, 3], 0.0, [0, 1, 2, 4]),
        ([0, 0], 0.0, []),
        ([4, 9], 0.0, [0, 1, 2, 3, 4, 5, 6, 7]),
        ([4, 4], 0.6, [0, 2, 3, 6]),
    ],
)
def test_of_equal_scores_the_smaller_id_is_kept(quotas, floor, expected):
    labels, scores = np.array(LABELS, np.uint16), np.array(SCORES, np.float32)
    kept = best_of_each_class(labels, scores, scores >= floor, np.array(quotas))
    assert kept.tolist() == expected


def test_best_agrees_with_sorting_by_score_and_id():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, 5000)
    scores = rng.integers(0, 50, 5000).astype(np.float32)
    eligible = scores >= 3
    quotas = rng.integers(0, 400, 7)
    expected = []
    for label, quota in enumerate(quotas):
        ids = [k for k in range(5000) if labels[k] == label and eligible[k]]
        expected += sorted(ids, key=lambda k: (-scores[k], k))[:quota]
    assert best_of_each_class(labels, scores, eligible, quotas).tolist() == sorted(expected)


def test_counts_are_of_the_eligible():
    labels = np.array(LABELS)
    assert class_counts(labels, 3, np.array(SCORES) > 0.6).tolist() == [3, 1, 0]


@pytest.mark.parametrize("protocol", ["until_full", "top_k"])
def test_a_selection_takes_few_bytes_a_sample(protocol: str) -> None:
    """10M samples of which 8M are kept: 5 bytes each are held, and 13 at the peak."""
    setup = """
import numpy as np
from pyrobust.data.selection import (
    best_of_each_class, class_counts, class_quotas, first_of_each_class
)
count = 10_000_000
"""
    work = f"""
labels = (np.arange(count, dtype=np.uint32) % 11 % 10).astype(np.uint8)
scores = np.random.default_rng(0).random(count, dtype=np.float32)
eligible = scores >= 0
quotas = class_quotas(8_000_000, 10)
assert (class_counts(labels, 10, eligible) >= quotas).all()
if {protocol!r} == "until_full":
    kept = first_of_each_class(labels, eligible, quotas)
else:
    kept = best_of_each_class(labels, scores, eligible, quotas)
assert len(kept) == 8_000_000
"""
    assert peak_bytes(setup, work) / 10_000_000 < 14

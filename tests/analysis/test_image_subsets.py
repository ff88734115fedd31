import tracemalloc

import numpy as np
import pytest

from pyrobust.analysis import image_subsets
from pyrobust.analysis.image_subsets import balanced_subset, stratified_subset
from pyrobust.data import selection
from pyrobust.data.permutation import permute


@pytest.mark.parametrize(
    ("labels", "size", "counts"),
    [
        ([0, 0, 0, 0, 1, 1], 3, [2, 1]),
        ([0, 0, 0, 0, 0, 0, 0, 1], 4, [4, 0]),  # 3.5 and 0.5: the first of equal remainders
        ([1, 1, 2, 2], 2, [0, 1, 1]),
        ([0, 1, 2], 5, [1, 1, 1]),
    ],
)
def test_a_stratified_draw_keeps_the_class_shares(
    labels: list[int], size: int, counts: list[int]
) -> None:
    rows = stratified_subset(np.array(labels), size, seed=0)
    assert np.bincount(np.array(labels)[rows], minlength=len(counts)).tolist() == counts
    assert (np.diff(rows) > 0).all()


def test_a_balanced_draw_takes_as_many_of_each_class() -> None:
    labels = np.random.default_rng(0).integers(0, 10, 5000)
    rows = balanced_subset(labels, 10, 300, seed=1)
    assert np.bincount(labels[rows]).tolist() == [300] * 10
    assert len(set(rows.tolist())) == 3000


def test_a_class_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="a class has 1 rows, expected at least 2"):
        balanced_subset(np.array([0, 0, 1]), 2, 2, seed=0)


def test_the_seed_decides_the_draw() -> None:
    labels = np.repeat(np.arange(2), 500)
    same = [balanced_subset(labels, 2, 100, seed=3) for _ in range(2)]
    assert (same[0] == same[1]).all()
    assert (same[0] != balanced_subset(labels, 2, 100, seed=4)).any()


def test_a_draw_is_spread_over_the_whole_set() -> None:
    rows = balanced_subset(np.zeros(10_000, np.int64), 1, 2000, seed=0)
    assert abs(rows.mean() - 5000) < 4 * 10_000 / np.sqrt(12 * 2000)


def test_a_draw_is_the_same_as_ever() -> None:
    labels = np.arange(1000) % 3
    assert stratified_subset(labels, 7, seed=2).tolist() == [413, 481, 496, 605, 711, 726, 759]
    assert balanced_subset(labels, 3, 2, seed=4).tolist() == [42, 72, 125, 262, 637, 737]


@pytest.mark.parametrize("num_classes", [1, 10])
def test_a_draw_takes_the_first_of_each_class_in_a_seeded_order(num_classes: int) -> None:
    """In blocks of any type of label, it equals a sort of all rows by (class, place)."""
    labels = np.random.default_rng(0).integers(0, num_classes, 200_000)
    order = np.lexsort((permute(np.arange(len(labels)), len(labels), 5), labels))
    expected = np.sort([row for c in range(num_classes) for row in order[labels[order] == c][:70]])
    rows = balanced_subset(labels.astype(np.uint8), num_classes, 70, seed=5)
    np.testing.assert_array_equal(rows, expected)


def test_a_draw_takes_few_bytes_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_subsets, "_BLOCK", 1 << 12)
    monkeypatch.setattr(selection, "_BLOCK", 1 << 12)
    labels = np.zeros(200_000, np.uint8)
    tracemalloc.start()
    try:
        stratified_subset(labels, 5000, seed=0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 18 * len(labels)

import numpy as np
import pytest

from pyrobust.analysis.subsets import balanced_subset, stratified_subset


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

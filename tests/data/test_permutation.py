"""Permutations without memory."""

from collections import Counter

import numpy as np
import pytest

from pyrobust.data.permutation import permute, unpermute


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 10, 255, 256, 257, 10_007])
def test_every_index_is_hit_once(count):
    permuted = permute(np.arange(count), count, seed=3)
    np.testing.assert_array_equal(np.sort(permuted), np.arange(count))


@pytest.mark.parametrize("count", [1, 2, 3, 10, 255, 256, 257, 10_007])
def test_the_inverse_finds_every_index_again(count):
    index = np.arange(count)
    np.testing.assert_array_equal(unpermute(permute(index, count, 3, 1), count, 3, 1), index)


def test_a_value_does_not_depend_on_the_others_that_are_asked_for():
    whole = permute(np.arange(1000), 1000, seed=5)
    np.testing.assert_array_equal(permute(np.array([[7, 3], [999, 7]]), 1000, 5)[0], whole[[7, 3]])


def test_the_permutation_is_fixed_for_all_time():
    assert permute(np.arange(8), 8, seed=0).tolist() == [5, 7, 6, 3, 0, 4, 1, 2]
    assert permute(np.array([123_456_789]), 10**9, seed=1, stream=2).tolist() == [230680802]


def test_seeds_and_streams_give_other_permutations():
    found = {
        tuple(permute(np.arange(50), 50, seed, stream)) for seed in range(5) for stream in range(5)
    }
    assert len(found) == 25


def test_all_orders_of_four_are_about_equally_frequent():
    orders = Counter(tuple(permute(np.arange(4), 4, seed)) for seed in range(4800))
    assert len(orders) == 24
    # Chi-square with 23 degrees of freedom: 49.7 is exceeded once in 1,000.
    assert sum((count - 200) ** 2 / 200 for count in orders.values()) < 49.7

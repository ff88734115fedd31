"""Stratified splits."""

import numpy as np
import pytest

from pyrobust.data.prepare import hold_out
from pyrobust.errors import UserError


@pytest.mark.parametrize(
    ("counts", "size", "expected"),
    [
        ((10, 10), 4, (2, 2)),
        ((10, 10, 10), 4, (2, 1, 1)),
        ((101, 11, 1), 11, (10, 1, 0)),
        ((3, 2), 3, (2, 1)),
        ((5000,) * 10, 1024, (103,) * 4 + (102,) * 6),
    ],
)
def test_each_class_gives_its_share_and_keeps_one(counts, size, expected):
    labels = np.repeat(np.arange(len(counts)), counts)
    held_out = hold_out(labels, size, seed=0, setting="test_size")
    found = np.bincount(labels[held_out], minlength=len(counts))
    assert found.tolist() == list(expected)


def test_the_rows_depend_on_the_seed_alone():
    labels = np.arange(300) % 3
    one, again, other = (hold_out(labels, 30, seed, "test_size") for seed in (0, 0, 1))
    assert (one == again).all()
    assert (one != other).any()


def test_too_many_are_refused():
    with pytest.raises(
        UserError,
        match="validation_size is 5, but only 6 images of 2 classes are available and each",
    ):
        hold_out(np.array([0, 0, 0, 1, 1, 1]), 5, 0, "validation_size")

import numpy as np
import pytest

from pyrobust.analysis.candidates import Neighbours
from pyrobust.analysis.complementarity_and_coverage import (
    complementarity,
    coverage,
    find_neighbours,
    per_class,
)
from pyrobust.analysis.exact_search import nearest_neighbours

MEMORY = 1 << 30


def test_the_example_of_appendix_d() -> None:
    """Six samples: one is closest to train, two to test, three to one another."""
    train, test = column([0.0, 100.0]), column([10.0, 200.0])
    generated = column([0.5, 9.0, 11.5, 50.0, 51.0, 52.0])
    found = find_neighbours(train, test, generated, MEMORY)
    assert complementarity(found.closest) == {"train": 1 / 6, "test": 1 / 3, "self": 1 / 2}


def test_ties_go_to_train_then_test_then_self() -> None:
    found = find_neighbours(
        column([1.0, 50.0]), column([3.0, 9.0]), column([2.0, 7.0, 11.0, 50.0, 50.0]), MEMORY
    )
    # 2: train and test at 1; 7: test at 2; 11: test at 2; 50: train and self at 0.
    assert found.closest.tolist() == [0, 1, 1, 0, 0]


def test_every_sample_meets_all_others() -> None:
    """The listing would shrink the set, so that the last sample met none."""
    far = column([1e6, -1e6])
    found = find_neighbours(far, far, column([0.0, 1.0, 2.5]), MEMORY)
    assert found.by_set["self"].index.tolist() == [1, 0, 1]


def test_two_uniform_sets_cover_five_ninths() -> None:
    """Footnote 15: 55.6 %. A point of N covers (E1 + E2) / 2N with E ~ Exp(1), so no query falls
    to it with probability E[exp(-E / 2)]² = 4 / 9."""
    random = np.random.default_rng(0)
    size = 4000
    shares = []
    for _ in range(10):
        queries, points = (random.random((size, 1), np.float32) for _ in range(2))
        shares.append(coverage(nearest_neighbours(queries, points, MEMORY), size))
    assert np.mean(shares) == pytest.approx(5 / 9, abs=0.006)


def test_a_generator_that_memorises_lies_in_train_alone() -> None:
    random = np.random.default_rng(1)
    train, test = (random.standard_normal((500, 8)).astype(np.float32) for _ in range(2))
    found = find_neighbours(train, test, train.copy(), MEMORY)
    assert complementarity(found.closest) == {"train": 1.0, "test": 0.0, "self": 0.0}
    assert coverage(found.by_set["train"], 500) == 1.0


def test_a_generator_that_copies_itself_lies_in_self_alone() -> None:
    random = np.random.default_rng(2)
    train, test = (random.standard_normal((200, 8)).astype(np.float32) for _ in range(2))
    found = find_neighbours(train, test, np.full((200, 8), 0.25, np.float32), MEMORY)
    assert complementarity(found.closest) == {"train": 0.0, "test": 0.0, "self": 1.0}
    assert coverage(found.by_set["train"], 200) == 1 / 200


def test_a_sample_for_which_nothing_was_found_covers_nothing() -> None:
    found = Neighbours(np.array([0, -1, 0]), np.array([1.0, np.inf, 4.0]))
    assert coverage(found, 4) == 1 / 4


def test_tables_by_class() -> None:
    found = find_neighbours(
        column([0.0, 1.0, 10.0]), column([5.0, 20.0]), column([0.1, 9.9, 5.6]), MEMORY
    )
    labels = {
        "train": np.array([0, 0, 1]),
        "test": np.array([0, 1]),
        "self": np.array([0, 1, 1]),
    }
    assert per_class(found, labels, ("cat", "dog")) == {
        "cat": {
            "complementarity": {"train": 1.0, "test": 0.0, "self": 0.0},
            "coverage": {"train": 1 / 2, "test": 1.0},
        },
        "dog": {
            "complementarity": {"train": 1 / 2, "test": 1 / 2, "self": 0.0},
            "coverage": {"train": 1.0, "test": 0.0},
        },
    }


def column(values: list[float]) -> np.ndarray:
    return np.array(values, np.float32)[:, None]

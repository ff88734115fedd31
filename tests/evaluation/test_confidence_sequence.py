"""Intervals that are valid at any stop: their coverage is computed exactly, not sampled."""

from collections.abc import Callable

import numpy as np
import pytest

from pyrobust.evaluation.confidence_sequence import anytime_interval
from pyrobust.evaluation.intervals import wilson_interval

Interval = Callable[[int, int, int], tuple[float, float]]


def chance_of_a_lucky_stop(interval: Interval, total: int, population: int) -> float:
    """Return the probability that any stop excludes the truth, `total` of `population`.

    Drawing without replacement is a walk over (successes, trials); all its paths are summed up.
    """
    share, lost = total / population, 0.0
    at = {0: 1.0}
    for trials in range(1, population + 1):
        after: dict[int, float] = {}
        for successes, chance in at.items():
            left = population - trials + 1
            hit = (total - successes) / left
            for one, odds in ((1, hit), (0, 1 - hit)):
                if odds > 0:
                    after[successes + one] = after.get(successes + one, 0.0) + chance * odds
        at = {}
        for successes, chance in after.items():
            low, high = interval(successes, trials, population)
            if low - 1e-12 <= share <= high + 1e-12:
                at[successes] = chance
            else:
                lost += chance
    return lost


@pytest.mark.parametrize("population", [1, 7, 60])
def test_the_luckiest_stop_excludes_the_truth_at_most_once_in_twenty(population: int) -> None:
    totals = {0, population // 10, population // 2, 2 * population // 3, population}
    lost = [chance_of_a_lucky_stop(anytime_interval, total, population) for total in totals]
    assert max(lost) <= 0.05
    if population == 60:
        assert max(lost) > 0.005, "needlessly wide"


def test_an_interval_for_one_stop_is_no_such_interval() -> None:
    def wilson(successes: int, trials: int, population: int) -> tuple[float, float]:
        return wilson_interval(successes, trials)

    assert chance_of_a_lucky_stop(wilson, 30, 60) > 0.15


def test_simulated_walks_of_a_whole_test_set_are_covered() -> None:
    """Ten thousand images, stopped at the luckiest of 40 moments."""
    random, population, total = np.random.default_rng(0), 10_000, 5_600
    truth = np.arange(population) < total
    missed = 0
    for _ in range(60):
        successes = np.cumsum(random.permutation(truth))
        moments = np.unique(np.geomspace(16, population, 40).astype(int))
        bounds = [anytime_interval(int(successes[t - 1]), int(t), population) for t in moments]
        missed += any(not low <= 0.56 <= high for low, high in bounds)
    assert missed <= 8  # 60 × 0.05 = 3; more than 8 have a probability below 0.005


def test_bounds_are_exact_at_the_ends() -> None:
    assert anytime_interval(0, 0, 10) == (0, 1)
    assert anytime_interval(7, 10, 10) == (0.7, 0.7)
    low, high = anytime_interval(9, 9, 10)
    assert (low, high) == (0.9, 1.0)
    narrow, wide = (
        np.diff(anytime_interval(300, 600, 1000, level)).item() for level in (0.9, 0.99)
    )
    assert 0 < narrow < wide < 0.2
    for wrong in ((5, 4, 10), (1, 11, 10), (-1, 3, 10), (0, 0, 0)):
        with pytest.raises(ValueError, match="make no share"):
            anytime_interval(*wrong)

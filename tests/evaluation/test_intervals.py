"""Intervals against published figures, against scipy and by their coverage."""

import numpy as np
import pytest
from scipy.stats import binomtest

from pyrobust.evaluation.intervals import (
    paired_difference,
    unpaired_difference,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # Newcombe (1998), Statistics in Medicine 17, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_meets_newcombes_table(
    successes: int, trials: int, low: float, high: float
) -> None:
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_meets_scipy() -> None:
    for trials in (1, 7, 360, 10_000):
        for successes in {0, 1, trials // 3, trials - 1, trials}:
            theirs = binomtest(successes, trials).proportion_ci(method="wilson")
            assert wilson_interval(successes, trials) == pytest.approx((theirs.low, theirs.high))


def test_intervals_of_unanimous_trials_are_closed() -> None:
    assert wilson_interval(0, 50)[0] == 0.0
    assert wilson_interval(50, 50)[1] == 1.0


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 2)])
def test_wilson_interval_refuses_what_is_not_a_share(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        wilson_interval(successes, trials)


def outcomes(both: int, only_first: int, only_second: int, neither: int) -> list[np.ndarray]:
    counts = (both, only_first, only_second, neither)
    return [np.repeat(flags, counts) for flags in ([True, True, False, False],
                                                   [True, False, True, False])]  # fmt: skip


def test_paired_difference_of_literals() -> None:
    # p1 = 13/102, p2 = 4/102: 0.08824 -+ 1.95996 * sqrt((0.16667 - 0.08824^2) / 102)
    first, second = outcomes(60, 12, 3, 25)
    assert paired_difference(first, second) == pytest.approx((0.09, 0.01088, 0.16559), abs=5e-5)


def test_paired_difference_changes_sign_with_the_order() -> None:
    first, second = outcomes(60, 12, 3, 25)
    difference, low, high = paired_difference(first, second)
    assert paired_difference(second, first) == pytest.approx((-difference, -high, -low))


def test_equal_outcomes_leave_zero_in_the_interval() -> None:
    difference, low, high = paired_difference(*outcomes(5, 0, 0, 5))
    assert difference == 0.0
    assert low < 0 < high


def test_paired_interval_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    covered = []
    for _ in range(2000):
        cell = random.choice(4, size=200, p=[0.55, 0.10, 0.05, 0.30])
        _, low, high = paired_difference((cell <= 1), np.isin(cell, (0, 2)))
        covered.append(low <= 0.05 <= high)
    assert 0.935 < np.mean(covered) < 0.975


def test_paired_difference_refuses_unpaired_outcomes() -> None:
    with pytest.raises(ValueError, match="cannot pair"):
        paired_difference(np.ones(3, bool), np.ones(4, bool))


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        # Newcombe (1998), Statistics in Medicine 17, 873-890, table II, method 10.
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0000),
    ],
)
def test_unpaired_difference_meets_newcombes_table(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    shares = [number for count, trials in (first, second) for number in (count / trials, trials)]
    assert unpaired_difference(*shares) == pytest.approx((low, high), abs=5e-5)


def test_unpaired_interval_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    ours, theirs = random.binomial(100, 0.97, 4000) / 100, random.binomial(200, 0.8, 4000) / 200
    found = [unpaired_difference(a, 100, b, 200) for a, b in zip(ours, theirs, strict=True)]
    assert 0.93 < np.mean([low <= 0.17 <= high for low, high in found]) < 0.97

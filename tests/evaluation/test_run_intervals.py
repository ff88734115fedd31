"""Intervals over training runs cover the truth as often as they say, with the paper's noise."""

import numpy as np
import pytest
from scipy import stats

from pyrobust.evaluation.intervals import mean_interval, paired_difference, welch_interval

# Section 6: ten runs of one setting have a standard deviation of 0.39 points.
PAPERS_NOISE = 0.0039
EFFECT = 0.01
TRIALS = 4000


@pytest.mark.parametrize(("first", "second"), [(3, 3), (4, 4), (10, 10), (3, 10)])
def test_welch_covers_the_effect_in_95_percent_of_simulations(first: int, second: int) -> None:
    random = np.random.default_rng(0)
    ours = 0.5544 + random.normal(0, PAPERS_NOISE, (TRIALS, first))
    theirs = 0.5544 - EFFECT + random.normal(0, PAPERS_NOISE, (TRIALS, second))
    covered = 0
    for mine, other in zip(ours.tolist(), theirs.tolist(), strict=True):
        found = welch_interval(mine, other)
        assert found is not None
        covered += found[0] <= EFFECT <= found[1]
    assert 0.93 <= covered / TRIALS <= 0.97


def test_welch_covers_an_effect_between_arms_of_unequal_noise() -> None:
    random = np.random.default_rng(1)
    noisy = random.normal(EFFECT, 2.3 * PAPERS_NOISE, (TRIALS, 4)).tolist()
    calm = random.normal(0, PAPERS_NOISE, (TRIALS, 4)).tolist()
    found = [welch_interval(*arms) for arms in zip(noisy, calm, strict=True)]
    covered = np.mean([pair is not None and pair[0] <= EFFECT <= pair[1] for pair in found])
    assert 0.93 <= covered <= 0.97


def test_the_interval_of_a_mean_covers_it_in_95_percent_of_simulations() -> None:
    runs = np.random.default_rng(2).normal(0.5444, PAPERS_NOISE, (TRIALS, 4)).tolist()
    found = [mean_interval(values) for values in runs]
    covered = np.mean([pair is not None and pair[0] <= 0.5444 <= pair[1] for pair in found])
    assert 0.93 <= covered <= 0.97


def test_an_interval_over_images_of_one_pair_of_runs_misses_the_effect_too_often() -> None:
    """Why nothing is claimed about data from one pair: training noise is outside this interval."""
    random = np.random.default_rng(3)
    images, discordant, trials = 10_000, 2000, 1000
    covered = 0
    for _ in range(trials):
        # The true difference of this pair of runs, which the interval over images estimates.
        difference = EFFECT + random.normal(0, PAPERS_NOISE) - random.normal(0, PAPERS_NOISE)
        only_first = random.binomial(discordant, 0.5 + difference * images / discordant / 2)
        ours, theirs = np.zeros((2, images), bool)
        ours[:only_first], theirs[only_first:discordant] = True, True
        _, low, high = paired_difference(ours, theirs)
        covered += low <= EFFECT <= high
    assert covered / trials < 0.9


@pytest.mark.parametrize("theirs", [[0.5, 0.6, 0.4], [0.52, 0.521, 0.519, 0.523]])
def test_welch_is_scipys(theirs: list[float]) -> None:
    ours = [0.71, 0.73, 0.70, 0.76]
    expected = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval()
    assert welch_interval(ours, theirs) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_runs_without_variance_have_no_interval() -> None:
    assert mean_interval([0.5]) is None
    assert mean_interval([0.5, 0.5, 0.5]) is None
    assert welch_interval([0.5, 0.5], [0.6, 0.6]) is None
    assert welch_interval([0.5, 0.6], [0.7]) is None
    assert welch_interval([0.5, 0.5], [0.6, 0.7]) is not None

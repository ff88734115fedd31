"""95 % intervals over images (one accuracy, or the difference of two) and over runs."""

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev, variance

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

_Z = NormalDist().inv_cdf(0.975)


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share (Wilson 1927).

    It stays inside [0, 1] and has a width above zero where all trials agree.

    Raises:
        ValueError: there are no trials, or more successes than trials.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"{successes} successes of {trials} trials make no share")
    return _score_interval(successes / trials, trials)


def _score_interval(share: float, trials: int) -> tuple[float, float]:
    shrink = 1 + _Z**2 / trials
    centre = (share + _Z**2 / (2 * trials)) / shrink
    spread = share * (1 - share) / trials + _Z**2 / (4 * trials**2)
    half = _Z * math.sqrt(spread) / shrink
    # At the ends the interval is exactly closed by 0 or 1; rounding must not open it.
    low = 0.0 if share == 0 else centre - half
    high = 1.0 if share == 1 else centre + half
    return low, high


def unpaired_difference(
    first: float, first_trials: int, second: float, second_trials: int
) -> tuple[float, float]:
    """Return the 95 % interval of first - second, shares of two independent sets of trials.

    The hybrid score interval of Newcombe (1998), method 10. It stays inside [-1, 1] and has a
    width above zero where all trials of a set agree.
    """
    low, high = _score_interval(first, first_trials)
    other_low, other_high = _score_interval(second, second_trials)
    difference = first - second
    return (
        difference - math.hypot(first - low, other_high - second),
        difference + math.hypot(high - first, second - other_low),
    )


def paired_difference(
    first: NDArray[np.bool_], second: NDArray[np.bool_]
) -> tuple[float, float, float]:
    """Return mean(first) - mean(second) with its 95 % interval: (difference, low, high).

    Entry i of both, (N,) bool, belongs to image i, so only the images on which the two differ
    carry weight. The interval is the adjusted Wald interval of Bonett and Price (2012):
    one image is added to each kind of disagreement.

    Raises:
        ValueError: the two are empty or of different lengths.
    """
    if first.shape != second.shape or first.ndim != 1 or not first.size:
        raise ValueError(f"cannot pair outcomes of shapes {first.shape} and {second.shape}")
    trials = len(first)
    only_first = int((first & ~second).sum())
    only_second = int((second & ~first).sum())
    p_first, p_second = ((count + 1) / (trials + 2) for count in (only_first, only_second))
    difference = p_first - p_second
    half = _Z * math.sqrt((p_first + p_second - difference**2) / (trials + 2))
    return (
        (only_first - only_second) / trials,
        max(-1.0, difference - half),
        min(1.0, difference + half),
    )


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % t interval of the mean of independent runs.

    None where it does not exist: a single run, or runs that all agree, hold no information on the
    variance between runs.
    """
    count = len(values)
    if count < 2 or not (deviation := stdev(values)):
        return None
    return _t_interval(fmean(values), deviation / math.sqrt(count), count - 1)


def welch_interval(first: Sequence[float], second: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of mean(first) - mean(second) (Welch 1947).

    Each entry is one independent run. The two variances may differ; the degrees of freedom are
    those of Welch and Satterthwaite. None where it does not exist: fewer than two runs on either
    side, or no variance on both.
    """
    if min(len(first), len(second)) < 2:
        return None
    errors = [variance(values) / len(values) for values in (first, second)]
    if not any(errors):
        return None
    freedom = sum(errors) ** 2 / sum(
        error**2 / (len(values) - 1) for error, values in zip(errors, (first, second), strict=True)
    )
    return _t_interval(fmean(first) - fmean(second), math.sqrt(sum(errors)), freedom)


def _t_interval(centre: float, error: float, freedom: float) -> tuple[float, float]:
    half = float(stdtrit(freedom, 0.975)) * error
    return centre - half, centre + half

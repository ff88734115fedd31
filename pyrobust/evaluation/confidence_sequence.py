"""Intervals that stay valid whenever one stops, for images drawn without replacement."""

import math

import numpy as np
from scipy.special import betaln, gammaln

_LEVEL = 0.95


def anytime_interval(
    successes: int, trials: int, population: int, level: float = _LEVEL
) -> tuple[float, float]:
    """Return an interval of the share of successes among all `population` images.

    After every image that is drawn at random without replacement it covers the share, at all
    these times together, with probability `level` or more, whatever makes one stop. It inverts the
    prior-posterior ratio of Waudby-Smith and Ramdas 2020 ("Confidence sequences for sampling
    without replacement", section 2) with a uniform prior: under m successes in all, the uniform
    mixture of the probabilities of what was drawn, over its probability under m, is a martingale
    that begins at 1, so by Ville's inequality it reaches 1 / (1 - level) with probability at most
    1 - level. After the last image only the share itself is left.

    Raises:
        ValueError: more successes than trials, or more trials than images.
    """
    if not 0 <= successes <= trials <= population or population == 0:
        raise ValueError(f"{successes} of {trials} images of {population} make no share")
    failures = trials - successes
    total = np.arange(successes, population - failures + 1)
    under_mixture = betaln(successes + 1, failures + 1)
    under_total = (
        _log_falling(total, successes)
        + _log_falling(population - total, failures)
        - _log_falling(np.array(population), trials)
    )
    kept = total[under_mixture - under_total < -math.log1p(-level)]
    return float(kept[0] / population), float(kept[-1] / population)


def _log_falling(start: np.ndarray, count: int) -> np.ndarray:
    """Return log(start (start - 1) ... (start - count + 1))."""
    value: np.ndarray = gammaln(start + 1.0) - gammaln(start - count + 1.0)
    return value

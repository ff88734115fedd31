import numpy as np
import pytest
from torch_fidelity.metric_fid import fid_statistics_to_metric

from pyrobust.analysis.fid import frechet_distance, moments


def fidelity(one: np.ndarray, other: np.ndarray) -> float:
    """Return torch-fidelity's FID of features in float64."""
    statistics = [
        {"mu": rows.mean(axis=0), "sigma": np.cov(rows, rowvar=False)} for rows in (one, other)
    ]
    return float(fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"])


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return frechet_distance(moments(one), moments(other))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([0, 2], [0, 2], 0.0),
        ([0, 2], [3, 5], 9.0),  # the means differ by 3
        ([0, 2], [0, 4], 1 + (2**0.5 - 8**0.5) ** 2),  # variances 2 and 8
    ],
)
def test_one_dimension(one: list[float], other: list[float], expected: float) -> None:
    columns = [np.array(values, np.float32)[:, None] for values in (one, other)]
    assert distance(*columns) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("count", "offset"), [(3000, 0.0), (3000, 1000.0), (40, 0.0)])
def test_it_equals_torch_fidelity(count: int, offset: float) -> None:
    random = np.random.default_rng(0)
    mixed = random.standard_normal((64, 64))
    one = (offset + random.standard_normal((count, 64)) @ mixed).astype(np.float32)
    other = (offset + 0.8 * random.standard_normal((count + 500, 64)) @ mixed + 0.3).astype(
        np.float32
    )
    expected = fidelity(one.astype(np.float64), other.astype(np.float64))
    assert distance(one, other) == pytest.approx(expected, rel=1e-6)


def test_moments_are_those_of_numpy() -> None:
    rows = np.random.default_rng(1).standard_normal((2500, 7)).astype(np.float32) + 1e4
    found = moments(rows)
    exact = rows.astype(np.float64)
    np.testing.assert_allclose(found.mean, exact.mean(axis=0))
    np.testing.assert_allclose(found.covariance, np.cov(exact, rowvar=False), rtol=1e-9, atol=1e-9)


def test_the_distance_of_a_set_to_itself_is_never_negative():
    for seed in range(20):
        rows = np.random.default_rng(seed).standard_normal((30, 8)) + 100
        own = moments(rows)
        assert 0 <= frechet_distance(own, own) < 1e-4

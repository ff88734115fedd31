import numpy as np
import pytest
from sklearn.decomposition import PCA

from pyrobust.analysis import pca
from pyrobust.analysis.pca import fit_pca
from pyrobust.errors import UserError


def features(count: int, dimensions: int, seed: int) -> np.ndarray:
    """Return correlated features with a falling spectrum, far from zero."""
    random = np.random.default_rng(seed)
    spread = 0.9 ** np.arange(dimensions)
    mixed = random.standard_normal((dimensions, dimensions))
    rows = (random.standard_normal((count, dimensions)) * spread) @ mixed
    return (50 + rows).astype(np.float32)


def project(fitted: pca.Pca, rows: np.ndarray) -> np.ndarray:
    return np.concatenate(list(fitted.project(rows)))


def test_a_line_has_one_component_of_positive_sign() -> None:
    line = np.array([[0, 0], [-1, -2], [-2, -4]], np.float32)
    fitted = fit_pca([line], components=2, seed=0)
    np.testing.assert_allclose(fitted.components, [[5**-0.5, 2 * 5**-0.5]])
    np.testing.assert_allclose(fitted.explained_variance, [1.0])
    np.testing.assert_allclose(project(fitted, line)[:, 0], np.array([1, 0, -1]) * 5**0.5)


def test_components_equal_those_of_scikit_learn() -> None:
    train, test = features(1500, 40, 0), features(900, 40, 1)
    fitted = fit_pca([train, test], components=10, seed=0)
    oracle = PCA(10, svd_solver="full").fit(np.concatenate([train, test]).astype(np.float64))
    overlap = np.abs((fitted.components * oracle.components_).sum(axis=1))
    np.testing.assert_allclose(overlap, 1, rtol=1e-9)
    np.testing.assert_allclose(fitted.explained_variance, oracle.explained_variance_ratio_)


@pytest.mark.parametrize(
    ("count", "dimensions", "components", "expected"), [(20, 5, 9, 5), (4, 30, 10, 3)]
)
def test_no_more_components_than_the_rows_span(
    count: int, dimensions: int, components: int, expected: int
) -> None:
    fitted = fit_pca([features(count, dimensions, 2)], components, seed=0)
    assert fitted.components.shape == (expected, dimensions)


def test_equal_features_are_refused() -> None:
    with pytest.raises(UserError, match="all 7 original images have the same features"):
        fit_pca([np.ones((7, 3), np.float32)], components=2, seed=0)


def test_subspace_iteration_finds_the_exact_components(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = features(800, 300, 3)
    exact = fit_pca([rows], components=20, seed=0)
    monkeypatch.setattr(pca, "MAX_EXACT_DIMENSIONS", 100)
    close = fit_pca([rows], components=20, seed=0)
    np.testing.assert_allclose(close.components, exact.components, atol=1e-7)
    np.testing.assert_allclose(close.explained_variance, exact.explained_variance)


def test_equal_rows_have_equal_projections_wherever_they_are() -> None:
    rows = features(2100, 30, 4)
    rows[[1023, 1024, 2099]] = rows[0]
    projected = project(fit_pca([rows], components=10, seed=0), rows)
    for place in (1023, 1024, 2099):
        np.testing.assert_array_equal(projected[place], projected[0])

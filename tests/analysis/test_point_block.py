import numpy as np
import pytest
import torch

from pyrobust.analysis import point_block
from pyrobust.analysis.candidates import Proposer, Search, exhaustive, squared_distances
from pyrobust.analysis.exact_search import nearest_neighbours
from pyrobust.analysis.point_block import PointBlock
from pyrobust.analysis.sieve import Sieve


def normal(count: int, dimensions: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)


def test_points_are_parted_by_their_norms() -> None:
    points = normal(1500, 50, 0)
    points[::500] *= 1e4
    block = PointBlock(points, 0, exhaustive())
    np.testing.assert_allclose(block._norms, np.linalg.norm(block._centred, axis=1), rtol=1e-4)
    assert (np.diff(block._norms) >= 0).all()


def test_a_point_of_another_block_hides_none_of_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest of each stands in the other block, where it stands itself in its own."""
    monkeypatch.setattr(point_block, "coarsest_type", lambda: torch.float32)
    points = normal(1024, 30, 1)
    points = np.concatenate([points, points + np.float32(1e-3)])
    found = nearest_neighbours(points, points, 1, np.arange(2048))
    np.testing.assert_array_equal(found.index, (np.arange(2048) + 1024) % 2048)


def test_further_rounds_hold_no_more_candidates_than_the_first(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Float32 cannot tell the points of a cluster apart: all queries go through all rounds."""
    asked = []

    def build(points: np.ndarray) -> Search:
        search = exhaustive().build(points)

        def noted(queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
            asked.append(len(queries) * k)
            return search(queries, k)

        return noted

    clusters = 100 + 1e-5 * normal(1200, 8, 2).astype(np.float64)
    clusters[::2] *= -1
    points = clusters.astype(np.float32)
    with caplog.at_level("INFO"):
        nearest_neighbours(points[:300], points, 1 << 30, None, Proposer(build, True, False))
    assert max(asked) <= 4 * 300
    assert len(asked) < 100
    assert "had many almost equal" in caplog.text


def test_few_values_are_compared_in_float64_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However wide vectors are: pixels of small images are 3,072 values."""
    sizes = []

    def noted(queries: np.ndarray, points: np.ndarray) -> np.ndarray:
        sizes.append(queries.size)
        return squared_distances(queries, points)

    monkeypatch.setattr(point_block, "squared_distances", noted)
    almost_equal = (1 + 1e-7 * normal(600, 1000, 5)).astype(np.float32)
    almost_equal[0] = -1
    nearest_neighbours(almost_equal[:20], almost_equal, 1 << 30)
    assert sum(sizes) > 1 << 20
    assert max(sizes) <= 1 << 18


def test_a_sieve_serves_all_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Noted(Sieve):
        def __init__(self, points: np.ndarray, part_size: int, dtype: torch.dtype) -> None:
            made.append(dtype)
            super().__init__(points, part_size, dtype)

    monkeypatch.setattr(point_block, "coarsest_type", lambda: torch.float32)
    monkeypatch.setattr(point_block, "Sieve", Noted)
    nearest_neighbours(normal(3000, 8, 3), normal(1000, 8, 4), 1)
    assert made == [torch.float32]

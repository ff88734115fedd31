import numpy as np
import pytest
import torch

from pyrobust.analysis import point_block
from pyrobust.analysis.candidates import squared_distances
from pyrobust.analysis.exact_search import nearest_neighbours
from pyrobust.analysis.sieve import TILE, Sieve, coarsest_type
from pyrobust.errors import UserError

TYPES = [torch.bfloat16, torch.float32]


def vectors(count: int, dimensions: int, seed: int, scale: float = 1) -> np.ndarray:
    """Return points in the order of their norms, as a sieve wants them."""
    rows = np.random.default_rng(seed).standard_normal((count, dimensions)) * scale
    return rows[np.argsort(np.linalg.norm(rows, axis=1))].astype(np.float32)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("part_size", [TILE, 2 * TILE])
@pytest.mark.parametrize(("dimensions", "scale"), [(1, 1.0), (7, 1e6), (100, 1e-6), (300, 1.0)])
def test_the_nearest_of_each_part_is_within_its_bounds(
    dimensions: int, scale: float, part_size: int, dtype: torch.dtype
) -> None:
    points, queries = vectors(1600, dimensions, 0, scale), vectors(50, dimensions, 1, 2 * scale)
    points[:part_size] = points[:part_size][::-1]  # the largest norms in the first tile
    sieve = Sieve(points, part_size, dtype)
    lower, upper = sieve._bounds(torch.from_numpy(queries), torch.full((50,), -1))
    distances = squared_distances(queries[:, None], points[None])
    for part, start in enumerate(range(0, 1600, part_size)):
        nearest = distances[:, start : start + part_size].min(axis=1)
        assert (lower[:, part].double().numpy() <= nearest).all()
        assert (nearest <= upper[:, part].double().numpy()).all()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("dimensions", [1, 30, 3000])
def test_vectors_that_round_the_worst_are_within_the_bounds(
    dimensions: int, dtype: torch.dtype
) -> None:
    """1 + 2⁻⁸ lies between two values of bfloat16: all products err the same way."""
    points = np.full((TILE, dimensions), 1 + 2.0**-8, np.float32)
    sieve = Sieve(points, TILE, dtype)
    for queries in (points[:2], -points[:2], 1000 * points[:2]):
        lower, upper = sieve._bounds(torch.from_numpy(queries), torch.full((2,), -1))
        nearest = squared_distances(queries, points[:2])[:, None]
        assert (lower.double().numpy() <= nearest).all()
        assert (nearest <= upper.double().numpy()).all()


@pytest.mark.parametrize("dtype", TYPES)
def test_products_below_the_smallest_number_lose_no_neighbour(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each product of two of these is taken for zero, and the near ones seem the nearest."""
    monkeypatch.setattr(point_block, "coarsest_type", lambda: dtype)
    small, random = 2.0**-64, np.random.default_rng(0)
    near = [s * k * small / 256 * np.eye(64) for s in (1, -1) for k in (1, 2, 3, 4)]
    far = small * random.choice([-1.0, 1.0], (300, 64))
    points = np.concatenate([*near, far, -far]).astype(np.float32)
    found = nearest_neighbours(points[-40:], points, 1 << 30)
    np.testing.assert_array_equal(found.squared_distance, np.zeros(40))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("scale", [1, 2.0**-52])
def test_few_parts_pass_and_the_nearest_is_in_one_of_them(scale: float, dtype: torch.dtype) -> None:
    points, queries = vectors(20_000, 60, 2, scale), vectors(500, 60, 3, scale)
    nowhere, unknown = np.full(500, -1), np.full(500, np.inf)
    passing, bound = Sieve(points, TILE, dtype).passing(queries, nowhere, unknown)
    found = nearest_neighbours(queries, points, 1 << 30)
    assert passing[np.arange(500), found.index // TILE].all()
    assert (found.squared_distance <= bound).all()
    assert passing.mean() < (0.1 if dtype == torch.bfloat16 else 0.03)


def test_what_is_known_already_closes_parts() -> None:
    points, queries = vectors(3000, 20, 4), vectors(100, 20, 5)
    sieve, nowhere = Sieve(points, TILE, torch.float32), np.full(100, -1)
    passing, _ = sieve.passing(queries, nowhere, np.zeros(100))
    assert not passing.any()


def test_a_query_does_not_count_itself() -> None:
    points = np.repeat(np.array([1, 2, 3], np.float32), TILE)[:, None]
    points[:TILE] += np.arange(TILE, dtype=np.float32)[::-1, None] / 1e4
    own = np.array([0, TILE, 3 * TILE - 1])
    sieve = Sieve(points, TILE, torch.float32)
    passing, bound = sieve.passing(points[own], own, np.full(3, np.inf))
    assert passing.tolist() == [[True, False, False], [False, True, False], [False, False, True]]
    np.testing.assert_allclose(bound, [1e-8, 0, 0], atol=1e-4)
    alone = Sieve(points[:1], TILE, torch.float32)
    passing, bound = alone.passing(points[:1], np.array([0]), np.array([np.inf]))
    assert np.isinf(bound).all()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("query", "point"),
    [
        # Both are rounded up by as much as there is, and v is almost zero: no other error helps.
        ([1 + 3 / 256], [2.0390625 + 2.0**-20]),
        # Nothing is rounded but |y|² = 1 + 2⁻⁹ + 2⁻¹⁷, which takes three pieces; v is zero.
        ([2.0**-1, 2.0**-6, 2.0**-6, 2.0**-10, 2.0**-10], [1, 2.0**-5, 2.0**-5, 2.0**-9, 2.0**-9]),
    ],
)
def test_each_term_of_the_bounds_is_needed(
    query: list[float], point: list[float], dtype: torch.dtype
) -> None:
    queries, points = np.array([query], np.float32), np.array([point], np.float32)
    lower, upper = Sieve(points, TILE, dtype)._bounds(torch.from_numpy(queries), torch.tensor([-1]))
    assert lower.item() <= squared_distances(queries, points).item() <= upper.item()


@pytest.mark.parametrize("scale", [2.0**-60, 2.0**-64, 2.0**-72])
def test_neighbours_whose_squares_are_hardly_numbers_are_found(scale: float) -> None:
    points, queries = vectors(400, 1, 12, scale), vectors(100, 1, 13, scale)
    distances = squared_distances(queries[:, None], points[None])
    found = nearest_neighbours(queries, points, 1 << 30)
    np.testing.assert_array_equal(found.index, distances.argmin(axis=1))


@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_finds_the_same(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(point_block, "coarsest_type", lambda: dtype)
    points = vectors(3000, 30, 6)
    points[::7] = points[1::7][: len(points[::7])]
    distances = squared_distances(points[-300:, None], points[None])
    distances[np.arange(300), np.arange(2700, 3000)] = np.inf
    for memory in (1, 1 << 30):  # blocks of 1,024 points, and one
        found = nearest_neighbours(points, points, memory, np.arange(3000))
        np.testing.assert_array_equal(found.index[-300:], distances.argmin(axis=1))


def test_points_that_bfloat16_cannot_distinguish_are_sieved_in_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used = []

    class Noted(Sieve):
        def passing(
            self, queries: np.ndarray, own: np.ndarray, known: np.ndarray
        ) -> tuple[np.ndarray, np.ndarray]:
            used.append(self.dtype)
            return super().passing(queries, own, known)

    monkeypatch.setattr(point_block, "coarsest_type", lambda: torch.bfloat16)
    monkeypatch.setattr(point_block, "Sieve", Noted)
    random = np.random.default_rng(7)
    centres = random.standard_normal((10, 40))
    tight = centres[random.integers(0, 10, 6000)] + 0.05 * random.standard_normal((6000, 40))
    nearest_neighbours(tight[:1000].astype(np.float32), tight[1000:].astype(np.float32), 1 << 30)
    assert used == [torch.bfloat16, torch.float32]
    used.clear()
    loose = np.concatenate([random.standard_normal((300, 40)), tight[:1000]])
    nearest_neighbours(loose.astype(np.float32), tight[1000:].astype(np.float32), 1 << 30)
    assert used == [torch.bfloat16, torch.float32], "the first queries are not like the others"
    used.clear()
    nearest_neighbours(vectors(1000, 40, 8), vectors(5000, 40, 9), 1 << 30)
    assert set(used) == {torch.bfloat16}


def test_a_sieve_that_promises_too_much_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(Sieve):
        def passing(
            self, queries: np.ndarray, own: np.ndarray, known: np.ndarray
        ) -> tuple[np.ndarray, np.ndarray]:
            passing, bound = super().passing(queries, own, known)
            return passing, bound / 2

    monkeypatch.setattr(point_block, "Sieve", Wrong)
    with pytest.raises(ArithmeticError, match="less exact than float32"):
        nearest_neighbours(vectors(100, 50, 10), vectors(2000, 50, 11), 1 << 30)


def test_the_coarsest_type_is_what_the_processor_multiplies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for able, expected in (
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"avx2": True}, torch.float32),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        assert coarsest_type() == expected


def test_features_beyond_float32_are_refused() -> None:
    points = np.full((10, 4), 1e18, np.float32)
    points[::2] *= -1
    with pytest.raises(UserError, match=r"norm 2e\+18"):
        nearest_neighbours(points, points, 1 << 30)

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyrobust.analysis.candidates import (
    Proposer,
    Search,
    TorchSearch,
    exhaustive,
    inverted_lists,
    squared_distances,
)
from pyrobust.analysis.exact_search import nearest_neighbours
from tests.memory import peak_bytes

SMALL_BLOCKS = 1  # bytes: the smallest blocks that there are, 1,024 rows
ONE_BLOCK = 1 << 30


def brute_force(
    queries: np.ndarray, points: np.ndarray, same_set: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Compare all pairs in float64; argmin takes the lowest index among equals."""
    distances = np.stack(
        [squared_distances(np.repeat(query[None], len(points), 0), points) for query in queries]
    )
    if same_set:
        np.fill_diagonal(distances, np.inf)
    index = distances.argmin(axis=1)
    found = distances[np.arange(len(queries)), index]
    return np.where(np.isfinite(found), index, -1), found


def assert_exact(queries: np.ndarray, points: np.ndarray, same_set: bool = False) -> None:
    index, distance = brute_force(queries, points, same_set)
    for memory in (SMALL_BLOCKS, ONE_BLOCK):
        found = nearest_neighbours(
            queries, points, memory, own=np.arange(len(queries)) if same_set else None
        )
        np.testing.assert_array_equal(found.index, index)
        np.testing.assert_array_equal(found.squared_distance, distance)


@pytest.mark.parametrize(
    ("queries", "points", "index", "distance"),
    [
        ([0.0, 2.0], [1.0, 5.0], [0, 0], [1, 1]),
        ([1.0], [0.0, 2.0], [0], [1]),  # equally far: the lower index
        ([3.0], [3.0, 3.0], [0], [0]),
        ([0.0], [-0.0], [0], [0]),
    ],
)
def test_small_cases(
    queries: list[float], points: list[float], index: list[int], distance: list[float]
) -> None:
    found = nearest_neighbours(column(queries), column(points), ONE_BLOCK)
    assert found.index.tolist() == index
    assert found.squared_distance.tolist() == distance


@pytest.mark.parametrize(
    ("points", "index"),
    [
        ([7.0], [-1]),  # nothing is left
        ([7.0, 7.0, 7.0], [1, 0, 0]),  # copies are neighbours, itself is not
        ([0.0, 3.0, 4.0, 4.0], [1, 2, 3, 2]),
    ],
)
def test_a_point_is_not_a_neighbour_of_itself(points: list[float], index: list[int]) -> None:
    found = nearest_neighbours(
        column(points), column(points), ONE_BLOCK, own=np.arange(len(points))
    )
    assert found.index.tolist() == index


def test_many_duplicates_agree_with_brute_force() -> None:
    random = np.random.default_rng(0)
    grid = random.integers(0, 3, (3000, 6)).astype(np.float32)
    assert_exact(grid[:1500], grid[1500:])
    assert_exact(grid, grid, same_set=True)


def test_equals_in_several_parts_agree_with_brute_force() -> None:
    """Points are searched in parts of 512 or more; most of these are equally far from several."""
    grid = np.random.default_rng(7).integers(0, 8, (6000, 5)).astype(np.float32)
    assert_exact(grid[:700], grid[700:])
    own = np.arange(len(grid))
    found = nearest_neighbours(grid, grid, ONE_BLOCK, own)
    some = slice(2500, 3000)
    distances = squared_distances(grid[some, None], grid[None])
    distances[np.arange(500), own[some]] = np.inf
    np.testing.assert_array_equal(found.index[some], distances.argmin(axis=1))
    np.testing.assert_array_equal(found.squared_distance[some], distances.min(axis=1))


def test_a_collapsed_generator_agrees_with_brute_force() -> None:
    """Float32 cannot tell these points apart: they differ by less than it rounds off."""
    random = np.random.default_rng(1)
    points = np.concatenate(
        [
            np.ones((900, 20)),
            np.ones((700, 20)) + 1e-5 * random.standard_normal((700, 20)),
            100 * random.standard_normal((10, 20)),
        ]
    ).astype(np.float32)
    assert_exact(points, points, same_set=True)


def test_points_far_off_do_no_harm_to_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """Each error is bounded by the norms at hand: else all points might be the nearest."""
    random = np.random.default_rng(8)
    points = random.standard_normal((1500, 50)).astype(np.float32)
    points[::500] *= 1e4
    with caplog.at_level("INFO"):
        assert_exact(points[1:400], points)
    assert "almost equal" not in caplog.text
    assert_exact(points, points, same_set=True)


def test_a_large_offset_agrees_with_brute_force() -> None:
    random = np.random.default_rng(2)
    points = (1000 + random.standard_normal((2000, 30))).astype(np.float32)
    assert_exact(points, points, same_set=True)


def test_features_of_real_width_agree_with_brute_force() -> None:
    random = np.random.default_rng(3)
    points = random.standard_normal((2500, 100)).astype(np.float32)
    assert_exact(points[:300], points)


@settings(max_examples=50)
@given(
    seed=st.integers(0, 2**16),
    num_queries=st.integers(1, 40),
    num_points=st.integers(1, 60),
    dimensions=st.integers(1, 5),
    levels=st.integers(1, 4),
    scale=st.sampled_from([1e-3, 1.0, 1e4]),
)
def test_any_grid_agrees_with_brute_force(
    seed: int, num_queries: int, num_points: int, dimensions: int, levels: int, scale: float
) -> None:
    random = np.random.default_rng(seed)
    queries, points = (
        (scale * random.integers(0, levels, (count, dimensions))).astype(np.float32)
        for count in (num_queries, num_points)
    )
    assert_exact(queries, points)
    assert_exact(points, points, same_set=True)


def test_a_search_that_rounds_too_much_is_noticed() -> None:
    def build(points: np.ndarray) -> Search:
        search = exhaustive().build(points.astype(np.float16).astype(np.float32))
        return lambda queries, k: search(queries.astype(np.float16).astype(np.float32), k)

    points = np.random.default_rng(4).standard_normal((200, 50)).astype(np.float32)
    with pytest.raises(ArithmeticError, match="TensorFloat-32"):
        nearest_neighbours(
            points[:100],
            points[100:],
            ONE_BLOCK,
            proposer=Proposer(build, complete=True, sieved=False),
        )


def test_an_inverted_file_finds_most_neighbours_and_never_itself() -> None:
    points = np.random.default_rng(6).standard_normal((4000, 8)).astype(np.float32)
    points[3000:3500] = points[:500]
    own = np.arange(len(points))
    exact = nearest_neighbours(points, points, ONE_BLOCK, own)
    close = nearest_neighbours(points, points, ONE_BLOCK, own, inverted_lists(probes=20))
    assert (close.index != own).all()
    assert np.mean(close.index == exact.index) > 0.95
    assert (close.squared_distance >= exact.squared_distance).all()


@pytest.mark.parametrize(
    ("num_queries", "num_points", "dimensions", "megabytes"),
    [
        (3000, 40_000, 128, 64),  # would take 84 MB in one block, beside 16 MiB of FAISS
        (1500, 3500, 3072, 256),  # pixels of small images, in one block
    ],
)
def test_a_search_keeps_within_its_memory(
    num_queries: int, num_points: int, dimensions: int, megabytes: int
) -> None:
    setup = f"""
import numpy as np
from pathlib import Path
from tempfile import gettempdir
from pyrobust.analysis.exact_search import nearest_neighbours
from pyrobust.analysis.neighbours import ScratchRows
def vectors(count, seed):
    random = np.random.default_rng(seed)
    blocks = (random.standard_normal((500, {dimensions}), np.float32) for _ in range(count // 500))
    return ScratchRows(blocks, {dimensions}, Path(gettempdir()))
queries, points = vectors({num_queries}, 0), vectors({num_points}, 1)
nearest_neighbours(queries[:100], points[:2000], 1 << 24)
"""
    work = f"nearest_neighbours(queries, points, {megabytes} << 20)"
    assert peak_bytes(setup, work) < 1.1 * (megabytes << 20)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


@pytest.mark.parametrize("products", [1, 3000, 1 << 27])
@pytest.mark.parametrize("k", [1, 4, 700])
def test_torch_proposes_the_nearest_in_order(k: int, products: int, device: torch.device) -> None:
    random = np.random.default_rng(8)
    queries, points = (random.standard_normal((n, 9)).astype(np.float32) for n in (60, 700))
    if products == 1:
        queries, points = queries[:2], points[:7]
    k = min(k, len(points))
    distances, places = TorchSearch(points, device, products)(queries, k)
    exact = np.square(queries[:, None].astype(np.float64) - points).sum(-1)
    assert (np.diff(distances) >= 0).all()
    np.testing.assert_allclose(distances, np.sort(exact)[:, :k], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        np.take_along_axis(exact, places, 1), distances, rtol=1e-5, atol=1e-5
    )
    assert all(len(set(row)) == k for row in places.tolist())


@pytest.mark.parametrize("precision", ["highest", "medium"])
def test_a_search_by_torch_is_as_exact_as_one_by_faiss(
    precision: str, device: torch.device
) -> None:
    random = np.random.default_rng(5)
    grid = random.integers(0, 3, (3000, 12)).astype(np.float32)
    close = 1000 + random.standard_normal((3000, 12)).astype(np.float32)
    torch.set_float32_matmul_precision(precision)
    try:
        for points in (grid, close):
            own = np.arange(len(points))
            proposer = Proposer(
                lambda block: TorchSearch(block, device, products=1 << 20),
                complete=True,
                sieved=False,
            )
            ours = nearest_neighbours(points, points, ONE_BLOCK, own, proposer)
            by_faiss = nearest_neighbours(
                points, points, ONE_BLOCK, own, exhaustive(torch.device("cpu"))
            )
            np.testing.assert_array_equal(ours.index, by_faiss.index)
            np.testing.assert_array_equal(ours.squared_distance, by_faiss.squared_distance)
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision("highest")


def column(values: list[float]) -> np.ndarray:
    return np.array(values, np.float32)[:, None]

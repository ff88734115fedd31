"""A killed search goes on behind its last state, to the same neighbours."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from pyrobust.analysis import exact_search
from pyrobust.analysis.exact_search import SearchState, nearest_neighbours
from tests.kills import Killed

SMALL_BLOCKS = 1  # bytes: blocks of 1,024 rows
POINTS = np.random.default_rng(0).standard_normal((3000, 4)).astype(np.float32)
OWN = np.arange(3000)


def search(state: SearchState | None) -> tuple[np.ndarray, np.ndarray]:
    found = nearest_neighbours(POINTS, POINTS, SMALL_BLOCKS, own=OWN, state=state)
    return found.index, found.squared_distance


def killed_at(monkeypatch: pytest.MonkeyPatch, start: int, state: SearchState) -> list[int]:
    """Search until the block of points that starts there; return where blocks started."""
    starts: list[int] = []

    class Block(exact_search.PointBlock):
        def __init__(self, points, first, proposer):
            starts.append(first)
            if first == start:
                raise Killed
            super().__init__(points, first, proposer)

    with monkeypatch.context() as patch:
        patch.setattr(exact_search, "PointBlock", Block)
        with suppress(Killed):
            search(state)
    return starts


@pytest.mark.parametrize("start", [0, 1024, 2048])
def test_a_killed_search_resumes_to_the_same_neighbours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, start: int
) -> None:
    straight = search(None)

    def state() -> SearchState:
        return SearchState(tmp_path / "state.npz", "a", seconds=0)

    killed_at(monkeypatch, start, state())
    assert killed_at(monkeypatch, -1, state()) == list(range(start, 3000, 1024))
    again = search(state())
    np.testing.assert_array_equal(again[0], straight[0])
    np.testing.assert_array_equal(again[1], straight[1])


@pytest.mark.parametrize("change", ["identity", "torn", "empty", "size"])
def test_a_state_that_does_not_belong_is_dropped(tmp_path: Path, change: str) -> None:
    path = tmp_path / "state.npz"
    few = 2 if change == "size" else 3000
    SearchState(path, "a", seconds=0).save(2048, np.zeros(few, np.int64), np.zeros(few))
    if change == "torn":
        path.write_bytes(path.read_bytes()[:-100])
    elif change == "empty":
        path.write_bytes(b"")
    found = search(SearchState(path, "b" if change == "identity" else "a"))
    np.testing.assert_array_equal(found[0], search(None)[0])


def test_a_state_is_not_saved_again_at_once(tmp_path: Path) -> None:
    SearchState(tmp_path / "state.npz", "a").save(1, OWN, OWN.astype(float))
    assert not list(tmp_path.iterdir())

"""A killed search resumes at its last state, and shares find the neighbours of one job."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from pyrobust.analysis import exact_search
from pyrobust.analysis.candidates import Proposer, exhaustive, inverted_lists
from pyrobust.analysis.exact_search import nearest_neighbours, nearest_others, shared_queries
from pyrobust.analysis.search_state import SearchState, SearchStates
from pyrobust.shares import Share
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
        return SearchState(tmp_path / "state.npz", "a", range(3000), save_seconds=0)

    killed_at(monkeypatch, start, state())
    assert killed_at(monkeypatch, -1, state()) == list(range(start, 3000, 1024))
    again = search(state())
    np.testing.assert_array_equal(again[0], straight[0])
    np.testing.assert_array_equal(again[1], straight[1])


@pytest.mark.parametrize("change", ["identity", "torn", "empty", "size"])
def test_a_state_that_does_not_belong_is_dropped(
    tmp_path: Path, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state.npz"
    few = 2 if change == "size" else 3000
    state = SearchState(path, "a", range(few), save_seconds=0)
    state.save(2048, np.zeros(few, np.int64), np.zeros(few))
    if change == "torn":
        path.write_bytes(path.read_bytes()[:-100])
    elif change == "empty":
        path.write_bytes(b"")
    found = search(SearchState(path, "b" if change == "identity" else "a", range(3000)))
    np.testing.assert_array_equal(found[0], search(None)[0])
    assert ("is damaged" in caplog.text) == (change != "identity")


def test_a_state_is_not_saved_again_at_once(tmp_path: Path) -> None:
    state = SearchState(tmp_path / "state.npz", "a", range(3000))
    state.save(1, OWN, OWN.astype(float))
    assert not list(tmp_path.iterdir())
    state.save(3000, OWN, OWN.astype(float), final=True)
    assert len(list(tmp_path.iterdir())) == 1


def search_share(states: SearchStates, proposer: Proposer, share: Share | None) -> np.ndarray:
    """Return the nearest other points of a share, and their distances, (n, 2)."""
    queries = shared_queries(len(POINTS), POINTS.shape[1], SMALL_BLOCKS, proposer, share)
    found, _ = nearest_others(POINTS, queries, SMALL_BLOCKS, proposer, "a test", states)
    return np.stack([found.index, found.squared_distance], axis=1)


@pytest.mark.parametrize("of", [2, 7])  # of three blocks of queries
@pytest.mark.parametrize("approximate", [False, True])
def test_shares_find_what_one_job_finds_and_search_nothing_twice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, of: int, approximate: bool
) -> None:
    proposer = inverted_lists(2) if approximate else exhaustive()
    whole = search_share(SearchStates(tmp_path / "whole", "a"), proposer, None)
    states = SearchStates(tmp_path / "shared", "a")
    shares = [search_share(states, proposer, Share(number, of)) for number in range(1, of + 1)]
    np.testing.assert_array_equal(np.concatenate(shares), whole)
    searched: list[int] = []
    block = exact_search.PointBlock
    monkeypatch.setattr(
        block, "search", lambda self, values, own, found: searched.append(len(values))
    )
    np.testing.assert_array_equal(search_share(states, proposer, None), whole)
    assert not searched


def test_a_search_takes_over_the_shares_that_fit_and_completes_the_rest(tmp_path: Path) -> None:
    proposer = exhaustive()
    whole = search_share(SearchStates(tmp_path / "whole", "a"), proposer, None)
    states = SearchStates(tmp_path / "shared", "a")
    for share in (Share(2, 4), Share(3, 3), Share(6, 7)):  # the last overlaps the second
        search_share(states, proposer, share)
    pieces = [state.queries for state in states.covering(range(3000))]
    assert pieces == [range(750), range(750, 1500), range(1500, 2000), range(2000, 3000)]
    assert [state.queries for state in states.covering(range(1500))] == [
        range(750),
        range(750, 1500),
    ]
    np.testing.assert_array_equal(search_share(states, proposer, None), whole)


def test_states_of_another_search_are_named_and_not_used(tmp_path: Path) -> None:
    search_share(SearchStates(tmp_path, "a"), exhaustive(), Share(1, 2))
    states = SearchStates(tmp_path, "b")
    assert [path.name for path in states.others] == ["0-1500.npz"]
    assert [state.queries for state in states.covering(range(3000))] == [range(3000)]

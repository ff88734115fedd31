"""Verbs take a GPU, or one for each process, before they compute."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pyrobust.cli import holding
from pyrobust.cli.holding import takes_runtime, uses_gpu
from pyrobust.training.nodes import Layout


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the numbers of GPUs that are taken from now on; 0 marks the end of a block."""
    asked: list[int] = []

    @contextmanager
    def own_gpus(count: int) -> Iterator[None]:
        asked.append(count)
        yield
        asked.append(0)

    monkeypatch.setattr(holding, "own_gpus", own_gpus)
    monkeypatch.setattr(holding, "_share_out", lambda layout, device, node: None)
    return asked


def test_a_verb_that_computes_takes_one(counts: list[int]) -> None:
    uses_gpu(lambda: counts.append(-1))()
    assert counts == [1, -1, 0]


RANK_2 = {"RANK": "2", "LOCAL_RANK": "2", "WORLD_SIZE": "4"}
OPTIONS = {"resident_mb": 1, "save_steps": 1, "save_seconds": 1.0, "deterministic": False,
           "trackers": ""}  # fmt: skip


@pytest.mark.parametrize(
    ("device", "processes", "variables", "expected"),
    [
        ("auto", 1, {}, [1, -1, 0]),
        ("cuda", 4, {}, [4, -1, 0]),
        ("cpu", 4, {}, [-1]),
        ("auto", 1, {**RANK_2, "TORCHELASTIC_RUN_ID": "none"}, [-1]),
        ("auto", 4, {**RANK_2, "PYROBUST_STARTED_BY": str(os.getppid())}, [-1]),
        ("auto", 1, RANK_2, [-1]),  # by another launcher
        # What batch scripts export for other programs.
        ("auto", 4, RANK_2, [4, -1, 0]),
        ("auto", 4, {"RANK": "0", "WORLD_SIZE": "8"}, [4, -1, 0]),
        ("auto", 1, {"LOCAL_RANK": "2", "WORLD_SIZE": "8"}, [1, -1, 0]),
    ],
)
def test_a_training_takes_one_for_each_process(
    counts: list[int], monkeypatch: pytest.MonkeyPatch,
    device: str, processes: int, variables: dict[str, str], expected: list[int],
) -> None:  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    verb = takes_runtime(lambda runtime: counts.append(-1))
    verb(device=device, processes=Layout(1, processes), **OPTIONS)
    assert counts == expected

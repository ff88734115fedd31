"""Verbs take a GPU, or one for each process, before they compute."""

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


OPTIONS = {"resident_mb": 1, "save_steps": 1, "save_seconds": 1.0, "deterministic": False,
           "trackers": ""}  # fmt: skip


@pytest.mark.parametrize(
    ("device", "processes", "rank", "expected"),
    [
        ("auto", 1, None, [1, -1, 0]),
        ("cuda", 4, None, [4, -1, 0]),
        ("cpu", 4, None, [-1]),
        ("auto", 4, "2", [-1]),  # started by torchrun, or by the verb itself
    ],
)
def test_a_training_takes_one_for_each_process(
    counts: list[int], monkeypatch: pytest.MonkeyPatch,
    device: str, processes: int, rank: str | None, expected: list[int],
) -> None:  # fmt: skip
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    verb = takes_runtime(lambda runtime: counts.append(-1))
    verb(device=device, processes=Layout(1, processes), **OPTIONS)
    assert counts == expected

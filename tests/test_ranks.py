"""The place of a process, whatever a batch script exports."""

import os

import pytest

from pyrobust.errors import UserError
from pyrobust.ranks import Place, is_started
from pyrobust.threads import divided_threads, num_threads

CORES = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, None),
        ({"WORLD_SIZE": "8"}, None),
        ({"WORLD_SIZE": "8", "RANK": "0"}, None),
        ({"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8"}, Place(5, 1, 8)),
    ],
)
def test_only_all_variables_together_name_a_place(
    variables: dict[str, str], place: Place | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Place.of_this_process() == place


@pytest.mark.parametrize("values", ["8 0 8", "0 1 8", "x 0 8", "-1 -1 8", "0 0 "])
def test_variables_that_contradict_each_other_are_named(
    values: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in zip(("RANK", "LOCAL_RANK", "WORLD_SIZE"), values.split(" "), strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"RANK is '.*WORLD_SIZE is '.*': expected LOCAL_RANK <="):
        Place.of_this_process()


def test_a_process_knows_who_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in Place(1, 1, 2).variables().items():
        monkeypatch.setenv(name, value)
    assert not is_started(2)  # the variable is that of another parent
    monkeypatch.setenv("PYROBUST_STARTED_BY", str(os.getppid()))
    assert is_started(2)


@pytest.mark.parametrize(
    ("variables", "count", "expected"),
    [
        ({"OMP_NUM_THREADS": "1"}, 2, {"OMP_NUM_THREADS": "1"}),
        ({"OMP_NUM_THREADS": "99999"}, 1, {"OMP_NUM_THREADS": str(CORES)}),
        ({"OMP_NUM_THREADS": "1,4"}, 1, {"OMP_NUM_THREADS": "1"}),
        ({"OMP_NUM_THREADS": "many"}, 1, {"OMP_NUM_THREADS": str(CORES)}),
        (
            {"MKL_NUM_THREADS": str(CORES), "OPENBLAS_NUM_THREADS": "99999"},
            CORES,
            dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
        ),
    ],
)
def test_processes_divide_the_threads_of_every_library(
    variables: dict[str, str], count: int, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert divided_threads(count) == expected
    assert num_threads() >= 1

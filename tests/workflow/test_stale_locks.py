"""Lock files go where their snakemake was killed, and stay where it may live."""

import errno
import fcntl
from pathlib import Path
from typing import TextIO

import pytest

from pyrobust.workflow.stale_locks import remove_stale_locks


def start(state: Path, host: str = "login1") -> tuple[TextIO, list[str]]:
    """Start as a snakemake on `host` does; return its lock and what it said."""
    said: list[str] = []
    return remove_stale_locks(state, host, said.append), said


def lock_files(state: Path) -> list[str]:
    return sorted(path.name for path in (state / "locks").glob("*.lock"))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A folder in which a snakemake on login1 was killed."""
    state = tmp_path / ".snakemake"
    lock, said = start(state)
    assert said == []
    (state / "locks").mkdir()
    (state / "locks/0.input.lock").touch()
    (state / "locks/0.output.lock").touch()
    lock.close()
    return state


def test_the_same_machine_removes_what_was_left_over(state: Path) -> None:
    _, said = start(state)
    assert lock_files(state) == []
    assert len(said) == 2 and "0.input.lock" in said[0]


def test_locks_of_a_living_snakemake_stay(state: Path) -> None:
    (state / "alive.lock").write_text("login1")
    with (state / "alive.lock").open("a+") as living:
        fcntl.flock(living, fcntl.LOCK_SH)
        _, said = start(state)
    assert len(lock_files(state)) == 2
    assert said == []


def test_another_machine_keeps_its_hands_off_however_often_it_starts(state: Path) -> None:
    for _ in range(2):
        lock, said = start(state, "login2")
        lock.close()
        assert len(lock_files(state)) == 2
        assert "login1" in said[0] and "--unlock" in said[0]
    start(state, "login1")
    assert lock_files(state) == []


def test_another_machine_takes_its_turn_where_nothing_is_locked(state: Path) -> None:
    start(state)[0].close()
    start(state, "login2")[0].close()
    assert (state / "alive.lock").read_text() == "login2"


def test_an_older_file_without_a_name_is_not_proof(state: Path) -> None:
    (state / "alive.lock").write_text("")
    _, said = start(state)
    assert len(lock_files(state)) == 2
    assert "another machine" in said[0]


@pytest.mark.parametrize("code", [errno.EBADF, errno.ENOSYS, errno.ENOLCK])
def test_a_file_system_without_locks_removes_nothing_and_stops_nobody(
    state: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(file: TextIO, operation: int) -> None:
        raise OSError(code, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    _, said = start(state)
    assert len(lock_files(state)) == 2
    assert said == []


def test_the_lock_is_open_for_reading_and_writing_as_network_file_systems_want(
    tmp_path: Path,
) -> None:
    lock, _ = start(tmp_path / ".snakemake")
    assert lock.readable() and lock.writable()


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        start(tmp_path / "absent" / ".snakemake")

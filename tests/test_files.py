"""A file is whole or absent."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from pyrobust.errors import BusyError, UserError
from pyrobust.files import (
    atomic_path,
    computed_again_if_damaged,
    exclusive,
    read_json,
    sha256_of,
    shared,
    write_json,
    write_text,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "record.json"
    write_text(target, "old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_killed_write_leaves_no_file_of_that_name(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from pyrobust.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); print('ready', flush=True); time.sleep(60)"
    )
    target = tmp_path / "record.json"
    writer = subprocess.Popen([sys.executable, "-c", code, target], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"ready\n"
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    assert not target.exists()


def test_equal_values_give_equal_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": [0.1, None]})
    write_json(tmp_path / "b.json", {"a": [0.1, None], "b": 1})
    assert sha256_of(tmp_path / "a.json") == sha256_of(tmp_path / "b.json")


def test_nan_is_not_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*file/record\.json"):
        write_text(tmp_path / "file" / "record.json", "text")


def test_a_missing_file_or_key_names_the_command_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="missing: 'pyrobust dataset' writes it"):
        read_json(tmp_path / "dataset.json", made_by="pyrobust dataset")
    (tmp_path / "dataset.json").write_text('{"count": {"a": 1}}')
    index = read_json(tmp_path / "dataset.json", made_by="pyrobust dataset")
    assert index == {"count": {"a": 1}} and index.get("b") is None
    for missing in (lambda: index["b"], lambda: index["count"]["b"]):
        with pytest.raises(UserError, match=r"lacks 'b'.*delete it and run 'pyrobust dataset'"):
            missing()


@pytest.mark.parametrize(
    "content",
    [
        b'{"count": 1',
        b"",
        b"\xe9",
        b"\0" * 9,
        b"[" * 99_999,
        b"1" * 9999,
        b'{"a": NaN}',
        b"-Infinity",
    ],
    ids=len,
)
def test_a_file_that_is_not_json_names_the_command_that_writes_it(
    content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "dataset.json").write_bytes(content)
    with pytest.raises(UserError, match=r"not JSON .* delete it and run 'pyrobust dataset' again"):
        read_json(tmp_path / "dataset.json", made_by="pyrobust dataset")


@pytest.mark.parametrize("content", ["[]", "null", "3", '"text"'])
def test_json_that_is_no_object_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(UserError, match=r"expected an object\): delete it and run 'pyrobust data"):
        read_json(tmp_path / "dataset.json", made_by="pyrobust dataset")


HOLDER = (
    "import sys, time; from pathlib import Path; from pyrobust.files import exclusive\n"
    "with exclusive(Path(sys.argv[1])):\n"
    "    print('holding', flush=True); time.sleep(60)"
)


def test_a_folder_is_held_by_one_process_until_that_process_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, tmp_path / "stage"]
    first = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert first.stdout is not None
    assert first.stdout.readline() == b"holding\n"
    second = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert second.stdout is not None
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(timeout=1)
    first.kill()
    assert second.stdout.readline() == b"holding\n"
    second.kill()
    for process in (first, second):
        process.communicate()


def test_sharers_of_a_folder_wait_for_nobody_but_one_that_wants_it_alone(tmp_path: Path) -> None:
    with shared(tmp_path), shared(tmp_path):
        alone = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE)
        with pytest.raises(subprocess.TimeoutExpired):
            alone.wait(timeout=1)
    assert alone.stdout is not None
    assert alone.stdout.readline() == b"holding\n"
    alone.kill()
    alone.communicate()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"cannot write .*file/stage"),
        exclusive(tmp_path / "file" / "stage"),
    ):
        pass


@pytest.mark.parametrize(
    ("before", "written", "left"),
    [
        ([], [], []),
        (["results"], [], ["results"]),
        (["results/stage"], [], ["results", "results/stage", "results/stage/.lock"]),
        ([], ["results/other"], ["results", "results/other"]),
        ([], ["results/stage/part"], ["results", "results/stage", "results/stage/.lock",
                                      "results/stage/part"]),
    ],
)  # fmt: skip
def test_a_block_that_fails_leaves_only_what_was_written(
    tmp_path: Path, before: list[str], written: list[str], left: list[str]
) -> None:
    for name in before:
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(UserError, match="refused"), exclusive(tmp_path / "results/stage"):
        for name in written:
            (tmp_path / name).mkdir()
        raise UserError("refused")
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    assert found == left


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_a_file_system_without_locks_is_named_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    def refuse(file: object, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with exclusive(tmp_path / "out"):
        write_text(tmp_path / "out/x", "x")
    assert f"{tmp_path / 'out'} cannot be locked" in caplog.text


def test_a_job_of_a_cluster_ends_where_another_job_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    busy = pytest.raises(BusyError, match="another job works in")
    with exclusive(tmp_path / "out"), busy, exclusive(tmp_path / "out"):
        raise AssertionError


@pytest.mark.parametrize(
    ("code", "is_damage"), [(errno.EACCES, False), (errno.EIO, False), (errno.EINVAL, True)]
)
def test_a_file_that_the_system_keeps_back_is_not_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, code: int, is_damage: bool
) -> None:
    outcome = nullcontext() if is_damage else pytest.raises(OSError, match=os.strerror(code))
    with outcome, computed_again_if_damaged(tmp_path / "state.npz"):
        raise OSError(code, os.strerror(code))
    assert ("is damaged" in caplog.text) is is_damage

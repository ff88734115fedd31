"""Processes of one run: how they end, together."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pyrobust.training.data_parallel import run_processes

# Ends with the status that stands at its rank.
EXIT = "import os, sys; sys.exit(int(sys.argv[1].split(',')[int(os.environ['RANK'])]))"


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", code, *(str(argument) for argument in arguments)]


@pytest.mark.parametrize(
    ("statuses", "status"), [("0,0,0", 0), ("75,75,75", 75), ("0,2,2", 2), ("75,3,75", 3)]
)
def test_the_status_is_that_of_the_processes(statuses: str, status: int) -> None:
    assert run_processes(python(EXIT, statuses), 3) == status


def test_each_process_gets_its_place(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys; e = os.environ; "
        "facts = [e[k] for k in ('LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT')]; "
        "pathlib.Path(sys.argv[1], e['RANK']).write_text(' '.join(facts))"
    )
    assert run_processes(python(code, tmp_path), 2) == 0
    told = [(tmp_path / rank).read_text().split() for rank in ("0", "1")]
    assert [facts[:3] for facts in told] == [["0", "2", "127.0.0.1"], ["1", "2", "127.0.0.1"]]
    assert told[0][3] == told[1][3]


def test_a_process_that_waits_for_one_that_failed_is_killed() -> None:
    code = (
        "import os, time; time.sleep(60) if os.environ['RANK'] == '0' else os.kill(os.getpid(), 9)"
    )
    started = time.monotonic()
    assert run_processes(python(code), 2, grace=0.1) == 128 + 9
    assert time.monotonic() - started < 30


# Starts two processes of the code in argv[1] and exits as they do.
PARENT = (
    "import sys; from pyrobust.training.data_parallel import run_processes; "
    "sys.exit(run_processes([sys.executable, '-c', *sys.argv[1:]], 2))"
)

# Says that it is there, and leaves with 75 once it is asked to stop.
STOPPABLE = """
import os, pathlib, signal, sys, time
signal.signal(int(sys.argv[2]), lambda number, frame: sys.exit(75))
pathlib.Path(sys.argv[1], os.environ["RANK"]).write_text(str(os.getpid()))
time.sleep(60)
"""


def start_two(folder: Path, number: int) -> tuple[subprocess.Popen[bytes], list[int]]:
    """Return a parent and the ids of its two processes, which wait for a signal."""
    parent = subprocess.Popen(python(PARENT, STOPPABLE, folder, number))
    files = [folder / "0", folder / "1"]
    while not all(file.exists() and file.read_text() for file in files):
        assert parent.poll() is None
        time.sleep(0.02)
    return parent, [int(file.read_text()) for file in files]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_is_passed_on_to_all(number: signal.Signals, tmp_path: Path) -> None:
    parent, _ = start_two(tmp_path, number)
    parent.send_signal(number)
    assert parent.wait(timeout=30) == 75


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells a process of its parent")
def test_no_process_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent, children = start_two(tmp_path, signal.SIGTERM)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30
    while any(is_running(child) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"  # dead, and nobody has asked for its status


# One of three processes fails between two collectives of a run.
FAILING = """
import pathlib, sys, torch
from pyrobust.training.data_parallel import joined_processes
with joined_processes("cpu", pathlib.Path(sys.argv[1])) as processes:
    processes.sum(torch.ones(1))
    if processes.rank == 1:
        raise ValueError("of rank 1")
    processes.sum(torch.ones(1))
"""


def test_an_exception_in_one_process_ends_all_at_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    started = time.monotonic()
    # None is killed: the others fail in the collective that they wait in.
    assert run_processes(python(FAILING, tmp_path), 3, grace=600) == 1
    assert time.monotonic() - started < 120
    assert "of rank 1" in capfd.readouterr().err

"""Starts the processes of a run on this machine.

torchrun starts them on several. Here it would stand in the way: it answers SIGTERM with a
traceback and status 1, dies of SIGUSR1 and leaves its processes behind.
"""

import ctypes
import math
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from types import FrameType

from pyrobust.training.interruption import EXIT_RESUMABLE, STOP_SIGNALS

# Seconds that processes have to end by themselves once another one has failed.
_GRACE = 15.0
_POLL = 0.1

# prctl's option to get a signal when the parent dies, from linux/prctl.h.
_PR_SET_PDEATHSIG = 1


def run_processes(command: Sequence[str], count: int, grace: float = _GRACE) -> int:
    """Run `command` in `count` processes that `joined_processes` joins; return the exit status.

    It is 0 where all succeed, 75 where they were asked to stop, else that of one that failed (128
    and its number for a signal). SIGTERM and SIGUSR1 are passed on. No process outlives this one.

    Args:
        grace: seconds until the others are killed after one has failed.
    """
    processes: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        for process in processes:
            process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in STOP_SIGNALS}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    end_with_parent = _end_with_parent()
    try:
        for rank in range(count):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
            environment = {**os.environ, **meeting, **own}
            processes.append(subprocess.Popen(command, env=environment, preexec_fn=end_with_parent))
        return _status(processes, grace)
    finally:
        for process in processes:
            process.kill()
            process.wait()
        for number, handler in before.items():
            signal.signal(number, handler)


def _status(processes: Sequence[subprocess.Popen[bytes]], grace: float) -> int:
    """Wait until all have ended, or `grace` seconds from the first failure on."""
    deadline = math.inf
    while True:
        ended = [code for process in processes if (code := process.poll()) is not None]
        failures = [code for code in ended if code not in (0, EXIT_RESUMABLE)]
        if len(ended) == len(processes) or time.monotonic() > deadline:
            break
        if failures:
            deadline = min(deadline, time.monotonic() + grace)
        time.sleep(_POLL)
    status = failures[0] if failures else EXIT_RESUMABLE if EXIT_RESUMABLE in ended else 0
    return 128 - status if status < 0 else status


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
    return port


def _end_with_parent() -> Callable[[], object] | None:
    """Return what a new process runs first, so that it is killed when its parent dies."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "prctl"):
        return None  # not Linux
    return lambda: library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

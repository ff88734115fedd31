"""Signals by which a scheduler asks a run to stop."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

# EX_TEMPFAIL of sysexits.h: nothing is wrong, try again. Slurm and Snakemake's retries do.
EXIT_RESUMABLE = 75

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Interrupted(SystemExit):
    """The run was asked to stop and saved its state; the exit status is 75."""

    def __init__(self) -> None:
        super().__init__(EXIT_RESUMABLE)


@dataclass
class Interruption:
    """Whether a signal has come."""

    requested: bool = False


@contextmanager
def noting_signals() -> Iterator[Interruption]:
    """Note SIGTERM and SIGUSR1 (Slurm's warning before pre-emption) instead of dying of them."""
    interruption = Interruption()

    def note(number: int, frame: FrameType | None) -> None:
        interruption.requested = True

    before = {number: signal.signal(number, note) for number in STOP_SIGNALS}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""The log of a job keeps every attempt, and says how each one ended.

Snakemake removes the log of a job before each attempt. The lines are therefore kept in a hidden
separate file, to which the log is a hard link: removing the log loses no line.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

_START = re.compile(r"^=== \S+ \S+ started(?: as Slurm job (\d+))?: ", re.M)
_END = re.compile(r"^=== \S+ \S+ ended with status (\d+)$", re.M)

NO_MEMORY = "pyrobust: out of memory"

# What Slurm says of a job that something else than a lack of memory ended.
_NOT_MEMORY = ("TIMEOUT", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "CANCELLED", "REQUEUED", "RUNNING")


class Attempt(NamedTuple):
    """One run of a job's command."""

    status: int | None
    """Exit status; None where it was killed, or still runs."""

    out_of_memory: bool
    """Whether its last line says so."""

    slurm_job: str | None


def kept_log(log: Path) -> Path:
    """Return the file that keeps the lines of `log`."""
    return log.with_name(f".{log.name}")


def append_output(log: Path, words: Sequence[str]) -> None:
    """Send all that this process prints to `log`, behind what earlier attempts printed.

    Args:
        words: of the command.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    kept = kept_log(log)
    lines = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    log.unlink(missing_ok=True)
    try:
        os.link(kept, log)
    except OSError:  # a file system without hard links
        log.symlink_to(kept.name)
    sys.stdout.flush()
    sys.stderr.flush()
    for stream in (1, 2):
        os.dup2(lines, stream)
    os.close(lines)
    job = os.environ.get("SLURM_JOB_ID")
    as_job = f" as Slurm job {job}" if job else ""
    _print(f"started{as_job}: pyrobust {shlex.join(words)}")


def note_end(status: int) -> None:
    """Print the line that ends an attempt."""
    _print(f"ended with status {status}")


def _print(event: str) -> None:
    print(f"=== {datetime.now():%Y-%m-%d %H:%M:%S} {event}", file=sys.stderr, flush=True)


def read_attempts(log: Path) -> list[Attempt]:
    """Return the attempts of a job, the oldest first; none where it has not run."""
    try:
        text = kept_log(log).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    starts = [*_START.finditer(text)]
    if not starts:
        return []
    ends = [*(start.start() for start in starts), len(text)][1:]
    attempts = []
    for start, end in zip(starts, ends, strict=True):
        lines = text[start.end() : end]
        ended = _END.search(lines)
        status = int(ended[1]) if ended else None
        attempts.append(Attempt(status, f"\n{NO_MEMORY}" in lines, start[1]))
    return attempts


def memory_failures(log: Path) -> int:
    """Return how many attempts since the last success ended for lack of memory.

    Those count that said so, and those that were killed, unless Slurm names another reason.
    """
    count = 0
    for attempt in reversed(read_attempts(log)):
        if attempt.status == 0:
            break
        killed = attempt.status is None and not _ended_otherwise(attempt.slurm_job)
        count += attempt.out_of_memory or killed
    return count


def _ended_otherwise(job: str | None) -> bool:
    """Return whether Slurm says that a job ended for another reason than memory."""
    if job is None or shutil.which("scontrol") is None:
        return False
    with suppress(OSError, subprocess.SubprocessError):
        shown = subprocess.run(
            ["scontrol", "show", "job", "--oneliner", job],
            capture_output=True, text=True, timeout=30, check=True,
        ).stdout  # fmt: skip
        return _is_other(re.search(r"JobState=(\w+)", shown))
    with suppress(OSError, subprocess.SubprocessError):  # Slurm forgets jobs after minutes
        told = subprocess.run(
            ["sacct", "-nXP", "-o", "State", "-j", job],
            capture_output=True, text=True, timeout=30, check=True,
        ).stdout  # fmt: skip
        return _is_other(re.search(r"(\w+)", told))
    return False


def _is_other(state: re.Match[str] | None) -> bool:
    return state is not None and state[1] in _NOT_MEMORY

"""Removes the lock files that a killed snakemake left behind, and no others.

Every snakemake holds a kernel lock, which ends with its process. A process that gets it exclusively
is the only one alive on this machine. Whether the lock covers other machines depends on the file
system, so lock files are removed only on the machine that made them.
"""

import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import TextIO


def remove_stale_locks(state: Path, host: str, say: Callable[[str], object]) -> TextIO:
    """Lock `state` for this process, and remove what a killed one left there.

    Args:
        state: snakemake's own folder, with its lock files in `locks/`.
        host: the name of this machine.
        say: called for each removed file, and for a machine whose files are kept.

    Returns:
        The lock: it must be kept while the process lives.

    Raises:
        OSError: `state` cannot be written.
    """
    state.mkdir(exist_ok=True)
    # Network file systems lock for sharing only what is open for reading, too.
    lock = (state / "alive.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass  # snakemake's own locks decide whether both may continue
    except OSError:
        return lock  # without such locks, other processes cannot be detected
    else:
        _remove(sorted((state / "locks").glob("*.lock")), lock, host, say)
    fcntl.flock(lock, fcntl.LOCK_SH)
    return lock


def _remove(files: list[Path], lock: TextIO, host: str, say: Callable[[str], object]) -> None:
    """Remove `files` where this machine was the last to work here; write down its name."""
    lock.seek(0)
    last = lock.read().strip()
    if files and last != host:
        say(
            f"Lock files are there, of a snakemake on {last or 'another machine'}: once none "
            "runs there any more, snakemake --unlock removes them"
        )
        return
    for file in files:
        say(f"A snakemake was killed here: removing its {file.name}")
        file.unlink()
    lock.truncate(0)
    lock.write(host)
    lock.flush()

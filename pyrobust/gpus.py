"""Assign GPUs to processes: each gets GPUs that no other process uses."""

import fcntl
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)

_VISIBLE = "CUDA_VISIBLE_DEVICES"


@contextmanager
def own_gpus(count: int) -> Iterator[None]:
    """Show the block `count` GPUs that no other process of this user has in such a block.

    Enter it before CUDA starts. If too few are free, or there is no choice, no GPU is hidden.
    """
    # Slurm renumbers GPUs in each job.
    place = f"pyrobust-{os.getuid()}", os.environ.get("SLURM_JOB_ID", "")
    with taken(count, _visible_gpus(), Path(tempfile.gettempdir(), *place)):
        yield


@contextmanager
def taken(count: int, gpus: Sequence[str], folder: Path) -> Iterator[None]:
    """Show the block `count` of `gpus`, which are taken by locks in `folder` until it ends.

    The locks are the kernel's: those of a killed process are free.

    Args:
        gpus: numbers or names, as CUDA_VISIBLE_DEVICES has them; fewer than 2 are no choice.
    """
    with ExitStack() as locks:
        if len(gpus) > 1:
            mine: list[str] = []
            for gpu in gpus:
                if len(mine) < count and _take(folder / f"gpu-{gpu}.lock", locks):
                    mine.append(gpu)
            if len(mine) == count:
                os.environ[_VISIBLE] = ",".join(mine)
            else:
                locks.close()
                logger.warning("fewer than %d of %d GPUs are free: sharing them", count, len(gpus))
        yield


def _take(file: Path, locks: ExitStack) -> bool:
    """Lock `file` until `locks` close; return whether that succeeded."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = locks.enter_context(file.open("a"))
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def num_devices() -> int:
    """Return the number of NVIDIA GPUs of this machine, without loading a driver."""
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def _visible_gpus() -> list[str]:
    """Return the GPUs that CUDA would show, or nothing where they are fewer than two."""
    named = [name.strip() for name in os.environ.get(_VISIBLE, "").split(",") if name.strip()]
    # CUDA shows a process one MIG instance at most, so torch cannot count them.
    if named and all(name.startswith("MIG-") for name in named):
        return named
    # Answers at once on most machines: torch takes seconds to import.
    if num_devices() < 2 or len(named) == 1:
        return []
    import torch

    count = torch.cuda.device_count()
    return (named or [str(number) for number in range(count)])[:count]

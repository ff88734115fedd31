"""Data parallelism: one process per device, started by `--processes` or by torchrun.

Each process takes its slice of every batch, and gradients, running statistics and metrics are
averaged in one all-reduce a step. Schedule, composition and order of the batches do not depend
on the number of processes. Batch norm uses the statistics of the slice (or of virtual batches
within it): with a virtual batch that divides the slice, the number of processes does not matter
up to rounding.

On one machine, and on each node of a Slurm job (`pyrobust.training.nodes`), pyrobust starts the
processes itself: on SIGTERM, torchrun prints a traceback and exits with status 1, and SIGUSR1 kills
it but not its processes.
"""

import ctypes
import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import FrameType

import torch
import torch.distributed as dist
from torch import Tensor

from pyrobust.errors import EXIT_RESUMABLE, UserError
from pyrobust.files import exclusive
from pyrobust.ops import choose_device
from pyrobust.ranks import Place
from pyrobust.training.nodes import free_port
from pyrobust.training.resuming import STOP_SIGNALS


@dataclass(frozen=True)
class Processes:
    """The place of this process among those of a run."""

    device: torch.device
    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def check_share(self, batch_size: int, virtual_batch: int = 0) -> None:
        """Refuse a batch that the processes cannot divide equally.

        Args:
            virtual_batch: each slice must consist of whole groups of so many images; 0 for any.

        Raises:
            UserError: names the numbers of processes and the batch sizes that fit.
        """
        unit = max(1, virtual_batch)
        step = self.world_size * unit
        if batch_size % step == 0:
            return
        groups = batch_size // unit
        counts = [str(count) for count in range(1, groups + 1) if groups % count == 0]
        below = batch_size // step * step
        sizes = [str(size) for size in (below, below + step) if size]
        within = f" in virtual batches of {virtual_batch}" if virtual_batch else ""
        raise UserError(
            f"a batch of {batch_size} images{within} cannot be divided equally among "
            f"{self.world_size} processes; use --processes {' or '.join(counts)}, or --batch-size "
            f"{' or '.join(sizes)}"
        )

    def normalized_together(self, batch_size: int, virtual_batch: int = 0) -> int:
        """Return the images that share batch statistics when each process takes its slice.

        Args:
            virtual_batch: images that share them whatever the slice; 0 is the whole slice.

        Raises:
            UserError: the slices, or the virtual batches within one, would not be equal.
        """
        self.check_share(batch_size, virtual_batch)
        return virtual_batch or batch_size // self.world_size

    def average_(self, tensors: Sequence[Tensor]) -> None:
        """Replace float32 tensors by their mean over all processes."""
        if self.world_size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.world_size
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of `values` over all processes."""
        if self.world_size > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Return whether any process holds True."""
        if self.world_size == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag), device=self.device)) > 0)


# Where the processes of a run meet.
_MEETING = ("MASTER_ADDR", "MASTER_PORT")


@contextmanager
def joined_processes(device: str, folder: Path) -> Iterator[Processes]:
    """Join the other processes of the run for the block; without others, run alone.

    The first process locks `folder` before it joins the others, which wait for it, so that none of
    them reads a state that another run is still writing.

    After an exception the process group is not destroyed: this process ends at once, and the others
    fail in their next collective. Destroying it would wait for them.

    Args:
        device: auto, cpu or cuda.
        folder: where the run writes.

    Raises:
        UserError: cuda is requested but unusable, the folder cannot be written, or the environment
            does not say where the processes meet.
    """
    mine = choose_device(device)
    if mine.type == "cuda":
        torch.cuda.set_device(mine)
    place = Place.of_this_process()
    with exclusive(folder) if place is None or place.rank == 0 else nullcontext():
        if place is None or place.world_size == 1:
            yield Processes(mine)
            return
        if missing := [name for name in _MEETING if name not in os.environ]:
            raise UserError(
                f"WORLD_SIZE is {place.world_size}, but {' and '.join(missing)} are not set: start "
                "the processes with torchrun or --processes, or unset RANK and WORLD_SIZE"
            )
        backend = "nccl" if mine.type == "cuda" else "gloo"
        # NCCL requires the device of each process; the timeout covers the writing of files.
        bound = mine if mine.type == "cuda" else None
        dist.init_process_group(backend, timeout=timedelta(hours=1), device_id=bound)
        yield Processes(mine, place.rank, place.world_size)
        dist.destroy_process_group()


# Seconds that the other processes have to end after one has failed.
_GRACE = 15.0
_POLL = 0.1

# Option of prctl for a signal when the parent process dies, from linux/prctl.h.
_PR_SET_PDEATHSIG = 1


def run_processes(
    command: Sequence[str], count: int, grace: float = _GRACE, first_rank: int = 0,
    world_size: int | None = None,
) -> int:  # fmt: skip
    """Run `command` in `count` processes that `joined_processes` joins; return the exit status.

    The status is 0 if all succeed, 75 if they were asked to stop, else that of a failed process
    (128 plus the number of a signal). SIGTERM and SIGUSR1 are forwarded. No process outlives it.

    Args:
        grace: seconds until the others are killed after one has failed.
        first_rank, world_size: of several nodes, which `pyrobust.training.nodes` starts; the
            environment then says where they meet.
    """
    processes: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        for process in processes:
            process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in STOP_SIGNALS}
    here = dict(zip(_MEETING, ("127.0.0.1", str(free_port())), strict=True))
    meeting = {} if world_size else here
    world_size = world_size or count
    end_with_parent = _end_with_parent()
    try:
        for rank in range(count):
            own = Place(first_rank + rank, rank, world_size)
            environment = {**os.environ, **meeting, **own.variables()}
            processes.append(subprocess.Popen(command, env=environment, preexec_fn=end_with_parent))
        return _status(processes, grace)
    finally:
        for process in processes:
            process.kill()
            process.wait()
        for number, handler in before.items():
            signal.signal(number, handler)


def _status(processes: Sequence[subprocess.Popen[bytes]], grace: float) -> int:
    """Wait until all have ended, or for `grace` seconds after the first failure."""
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


def _end_with_parent() -> Callable[[], object] | None:
    """Return a function for a new process to call, which has it killed when its parent dies."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "prctl"):
        return None  # not Linux
    return lambda: library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

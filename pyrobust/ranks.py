"""The place of this process among those that torchrun or `--processes` started."""

import os
from dataclasses import dataclass
from typing import Self

from pyrobust.errors import UserError

# Variables that launchers set for every process.
_PLACE = ("RANK", "LOCAL_RANK", "WORLD_SIZE")

# Id of the process of `--processes` that started this one, and the variable of torchrun.
_STARTED_BY = "PYROBUST_STARTED_BY"
_TORCHRUN = "TORCHELASTIC_RUN_ID"


@dataclass(frozen=True)
class Place:
    """One of several processes.

    Attributes:
        rank: number of the process, from 0.
        local_rank: its number on this machine, from 0.
        world_size: number of processes.
    """

    rank: int
    local_rank: int
    world_size: int

    @classmethod
    def of_this_process(cls) -> Self | None:
        """Return the place of this process; None if it runs alone.

        Batch scripts export some of the variables for other programs, so only all of them count.

        Raises:
            UserError: they do not name a place.
        """
        if not all(name in os.environ for name in _PLACE):
            return None
        texts = [os.environ[name] for name in _PLACE]
        rank, local_rank, world_size = (int(t) if t.isdecimal() else -1 for t in texts)
        if not 0 <= local_rank <= rank < world_size:
            given = ", ".join(f"{name} is '{os.environ[name]}'" for name in _PLACE)
            raise UserError(
                f"{given}: expected LOCAL_RANK <= RANK < WORLD_SIZE; unset these variables, "
                "which torchrun and --processes set themselves"
            )
        return cls(rank, local_rank, world_size)

    def variables(self) -> dict[str, str]:
        """Return the environment of a process that this one starts at the place."""
        values = (self.rank, self.local_rank, self.world_size)
        place = {name: str(value) for name, value in zip(_PLACE, values, strict=True)}
        return {**place, _STARTED_BY: str(os.getpid())}


def is_started(processes: int) -> bool:
    """Return whether this is one of the processes of a run, and not to start them.

    Args:
        processes: of `--processes`. If it asks for several, the variables of a place are no sign: a
            batch script may have exported them.
    """
    by_us = os.environ.get(_STARTED_BY) == str(os.getppid())
    placed = processes == 1 and Place.of_this_process() is not None
    return by_us or _TORCHRUN in os.environ or placed

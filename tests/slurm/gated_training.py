"""A gate in a training: each step waits there until the test opens it, or a signal comes.

However fast or busy the machine, a training is then interrupted before it ends.
"""

import os
import select
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from pyrobust.config.training import TrainSettings
from pyrobust.training.loader import TrainingBatch
from pyrobust.training.objectives.passes import Passes
from pyrobust.training.objectives.trades import Trades

_POLL = 0.1


class Gate:
    """The gate of all trainings that run in a project; closed at first."""

    def __init__(self, project: Path) -> None:
        self._folder = project / "gate"

    def open(self) -> None:
        """Let trainings continue."""
        self._folder.mkdir(exist_ok=True)
        (self._folder / "open").touch()

    @property
    def is_open(self) -> bool:
        """Whether trainings need not wait."""
        return (self._folder / "open").exists()

    def note_arrival(self) -> None:
        """Note that a training waits, by the number of its Slurm job, if it is one."""
        self._folder.mkdir(exist_ok=True)
        (self._folder / f"job{os.environ.get('SLURM_JOB_ID')}").touch()

    def has_arrived(self, job: str) -> bool:
        """Return whether the training of a Slurm job has come to the gate."""
        return (self._folder / f"job{job}").exists()


class Gated(Trades):
    """TRADES with a gate in the working directory."""

    def __init__(self, settings: TrainSettings) -> None:
        super().__init__(settings)
        self._gate = Gate(Path())
        self._signals, written = os.pipe()
        os.set_blocking(written, False)
        signal.set_wakeup_fd(written)  # readable from the first signal on

    def backward(self, batch: TrainingBatch, passes: Passes) -> Mapping[str, Tensor]:
        """Wait, then do as TRADES does."""
        self._gate.note_arrival()
        while not (self._gate.is_open or select.select([self._signals], [], [], 0)[0]):
            time.sleep(_POLL)
        return super().backward(batch, passes)

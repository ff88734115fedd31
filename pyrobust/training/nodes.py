"""Several nodes for one training: a Slurm step that starts the processes of each node.

`srun` runs in the batch script and not within a step: Slurm's SIGTERM (wall time, pre-emption)
reaches the processes of the training, which save their state and end, while `srun` waits for them.
An `srun` within a step is ended by that signal itself, and kills its processes before they save.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from pyrobust.errors import EXIT_RESUMABLE, UserError

# Number of nodes; torchrun sets it, too.
GROUP = "GROUP_WORLD_SIZE"

# Exit status of a mistake that the user can mend; its sentence is in the log.
_USER_ERROR = 2

# Seconds that the first node has to end by itself after another one failed.
_GRACE = 15.0


@dataclass(frozen=True)
class Layout:
    """How many processes a training has, and where."""

    nodes: int
    per_node: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the layout that "8" or, for 2 nodes with 8 processes each, "2x8" spells.

        Raises:
            UserError: the text is neither.
        """
        match = re.fullmatch(r"(?:([1-9][0-9]*)x)?([1-9][0-9]*)", text)
        if match is None:
            raise UserError(
                f"processes is '{text}', expected a number such as 8, or NODESxPROCESSES such as "
                "2x8 for 8 processes on each of 2 nodes"
            )
        return cls(int(match[1] or 1), int(match[2]))

    @property
    def world_size(self) -> int:
        """Processes on all nodes."""
        return self.nodes * self.per_node


def run_nodes(command: Sequence[str], nodes: int) -> int:
    """Run `command` once on each node of this Slurm job, with its number in SLURM_PROCID.

    The status is 0 if all succeed, 75 if they were asked to stop, else that of a failed node. If
    one fails, Slurm ends the others.

    Raises:
        UserError: this is not the batch script of a Slurm job.
    """
    if "SLURM_JOB_ID" not in os.environ or "SLURM_STEP_ID" in os.environ:
        where = "within a step of one" if "SLURM_STEP_ID" in os.environ else "not one"
        raise UserError(
            f"several nodes need the batch script of a Slurm job, but this is {where}: submit the "
            f"command with 'sbatch --nodes={nodes}' and without srun (docs/cluster.md), or start "
            "the processes with torchrun"
        )
    # The batch script runs on the first node, and so does the first process.
    meeting = {"MASTER_ADDR": socket.gethostname(), "MASTER_PORT": str(free_port())}
    placed = (f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--cpu-bind=none")
    # Slurm signals the processes itself.
    before = {
        number: signal.signal(number, lambda number, frame: None)
        for number in (signal.SIGTERM, signal.SIGUSR1)
    }
    try:
        status = subprocess.run(
            ["srun", *placed, "--kill-on-bad-exit=1", *command],
            env={**os.environ, **meeting, GROUP: str(nodes)}, check=False,
        ).returncode  # fmt: skip
    except FileNotFoundError as error:
        raise UserError("several nodes need Slurm's srun, which is not on the PATH") from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if status not in (0, _USER_ERROR, EXIT_RESUMABLE):
        print(
            f"pyrobust: a node or a process of the training failed (srun ended with status {status}"
            "; its lines above name the node): the others were ended, and the same command resumes "
            "from the last saved state",
            file=sys.stderr,
        )
    return 128 - status if status < 0 else status


def number_of_node() -> int | None:
    """Return the number of this node among those of `run_nodes`, from 0; None outside of it."""
    started = GROUP in os.environ and "SLURM_PROCID" in os.environ
    return int(os.environ["SLURM_PROCID"]) if started else None


def reported_status(node: int, status: int, grace: float = _GRACE) -> int:
    """Return the exit status of a node, at once or when the first node had time to end.

    Slurm kills all nodes when one ends with another status than 0. So only the first node, which
    saves the state, says that it was asked to stop.
    """
    if node == 0 or status == 0:
        return status
    if status == EXIT_RESUMABLE:
        return 0
    time.sleep(grace)
    return status


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as server:
        server.bind(("", 0))
        port: int = server.getsockname()[1]
    return port

# Removes the lock files that a killed snakemake left behind, with which the next one would
# refuse to start; no rules here.
#
# Every snakemake holds a lock of the kernel's, which ends with its process. Whoever gets it alone
# knows that no other is alive here, and that lock files are left over.
import fcntl
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.types import ExecMode

STATE = Path(".snakemake")


def alive():
    """Return the lock that tells others that this snakemake lives: keep it."""
    try:
        STATE.mkdir(exist_ok=True)
        lock = (STATE / "alive.lock").open("w")
    except OSError as error:
        raise WorkflowError(
            f"cannot write {STATE.resolve()} ({error.strerror}): run snakemake in a folder of "
            "yours, such as a clone or, with --directory, one that has a config/"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for left_over in (STATE / "locks").glob("*.lock"):
            logger.info(f"A snakemake was killed here: removing its {left_over.name}")
            left_over.unlink()
    except BlockingIOError:
        pass  # snakemake's own locks decide whether both may go on
    fcntl.flock(lock, fcntl.LOCK_SH)
    return lock


# A job of a cluster reads this file as well, while the snakemake that sent it lives.
ALIVE = alive() if workflow.exec_mode == ExecMode.DEFAULT else None

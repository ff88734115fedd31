# Removes the lock files that a killed snakemake left behind, with which the next one would
# refuse to start; no rules here.
import platform
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.types import ExecMode

from pyrobust.left_over import remove_left_over

STATE = Path(".snakemake")


def alive():
    """Return the lock that tells others that this snakemake lives: keep it."""
    try:
        return remove_left_over(STATE, platform.node(), logger.info)
    except OSError as error:
        raise WorkflowError(
            f"cannot write {STATE.resolve()} ({error.strerror}): run snakemake in a folder of "
            "yours, such as a clone or, with --directory, one that has a config/"
        ) from error


# A job of a cluster reads this file as well, while the snakemake that sent it lives.
ALIVE = alive() if workflow.exec_mode == ExecMode.DEFAULT else None

# What surrounds a run of snakemake: stale locks, the command of the pages, advice after a failure;
# no rules here.
import platform
import shutil

from snakemake.logging import logger
from snakemake.settings.types import DeploymentMethod, ExecMode

from pyrobust.gpus import num_devices
from pyrobust.workflow import core_build
from pyrobust.workflow.runs import advice, jobs_in_queue, options_of_run, refusal
from pyrobust.workflow.stale_locks import remove_stale_locks


# A killed snakemake leaves lock files with which the next one would refuse to start. They are
# removed while the Snakefile is read because snakemake offers no later moment before it locks.
def hold_alive_lock():
    """Return the lock that shows others that this snakemake is alive: keep it."""
    state = Path(".snakemake")
    try:
        return remove_stale_locks(state, platform.node(), logger.info)
    except OSError as error:
        raise WorkflowError(
            f"cannot write {state.resolve()} ({error.strerror}): run snakemake in a folder of "
            "yours, such as a clone or, with --directory, one that has a config/"
        ) from error


def renew_core():
    """Build a core that is older than its sources, before any job uses it."""
    deployment = workflow.deployment_settings.deployment_method
    if core_build.is_current(SOURCES) or DeploymentMethod.APPTAINER in deployment:
        return  # an image has a core
    if DeploymentMethod.CONDA in deployment:
        logger.warning(
            "The compiled core is older than its sources; build it in the environment of the "
            "rules: snakemake --use-conda --cores 4 --force resources/core.built"
        )
    elif core_build.main(SOURCES) != 0:
        raise WorkflowError(
            "the compiled core could not be built; the compiler's messages are above"
        )


def log_idle_gpus(count, resources):
    """Say how to use the GPUs of this machine that jobs leave idle."""
    used = resources.get("gpu")
    if workflow.local_exec and count > 1 and used is not None and used.value < count:
        logger.info(
            f"This machine has {count} GPUs and jobs use {used.value} at a time: add "
            f"--resources gpu={count} to run {count} jobs side by side"
        )


# A job of a cluster reads this file as well, while the snakemake that sent it is alive.
if workflow.exec_mode == ExecMode.DEFAULT:
    ALIVE = hold_alive_lock()
    # Pages show the command that makes them. It goes through the environment, since no page is
    # made again for options that change no setting.
    os.environ.update(
        PYROBUST_SNAKEMAKE_OPTIONS=options_of_run(
            home=Path(workflow.basedir),
            configfiles=workflow.overwrite_configfiles,
            config=workflow.config_settings.config,
        )
    )


# Here snakemake holds its lock, and no job has been submitted yet.
onstart:
    queued = jobs_in_queue(Path())
    if queued:
        raise WorkflowError(refusal(queued))
    renew_core()
    log_idle_gpus(num_devices(), workflow.global_resources)


onerror:
    print(advice(shutil.disk_usage(".").free), file=sys.stderr)

"""Runs snakemake on the private Slurm, and looks at its jobs."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from tests.slurm.cluster import Cluster
from tests.slurm.gated_training import Gate
from tests.workflow.running import TINY, Project, copy_project

PROFILE = "profiles/slurm"
GATED = "tests/slurm/gated.yaml"
DATASET = "resources/datasets/digits/dataset.json"
CHOICE = "results/train/tiny/choice.json"
# Without generated images it needs the data set alone.
TRAINED = "results/train/tiny_no_generated/seed0/training.json"
# What a test cluster needs beside the profile: it has no accounting, and answers at once.
OPTIONS = [
    *("--slurm-status-command", "squeue", "--slurm-no-account"),
    *("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "10"),
]
LIMIT_SECONDS = 1500  # of a machine that is busy elsewhere

# What a training prints that continues from its saved state.
RESUMED = "resuming from step"


def copy_with_gate(folder: Path) -> Project:
    """Copy the project, and the objective of the trainings to where its jobs import it from."""
    project = copy_project(folder)
    shutil.copy(project / "tests/slurm/gated_training.py", project)
    return project


def submit(
    cluster: Cluster,
    project: Project,
    *targets: str,
    overlay: Path | None = None,
    profile: str = PROFILE,
) -> subprocess.Popen[str]:
    command = ["snakemake", *targets, "--workflow-profile", profile, *OPTIONS]
    command += ["--configfile", TINY, GATED, *([overlay] if overlay else [])]
    return subprocess.Popen(
        command, cwd=project, env=cluster.environment, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def wait_until_it_trains(
    cluster: Cluster, project: Project, run: subprocess.Popen[str], since: str
) -> str:
    """Return the number of the job behind number `since` that trains and waits at the gate."""
    while run.poll() is None:
        for job in trainings(cluster, since):
            if job["state"] == "RUNNING" and Gate(project).has_arrived(job["id"]):
                return job["id"]
            assert job["state"] != "FAILED", logs_of(project)
        time.sleep(0.5)
    raise AssertionError(f"no training was seen: {run.communicate()[0][-4000:]}")


def logs_of(project: Project) -> str:
    """Return the end of each training's log."""
    return "\n".join(log.read_text()[-2000:] for log in project.glob("logs/train_robust/*/*.log"))


def finish(run: subprocess.Popen[str]) -> str:
    try:
        return run.communicate(timeout=LIMIT_SECONDS)[0]
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)


def wait_for_state(cluster: Cluster, job: str, *states: str) -> None:
    """Wait until a job is in one of these states."""
    for _ in range(LIMIT_SECONDS):
        if cluster.state(job) in states:
            return
        time.sleep(1)
    raise AssertionError(f"job {job} is {cluster.state(job)}, expected {states}")


def trainings(cluster: Cluster, since: str) -> list[dict[str, str]]:
    """Return the jobs that train, behind the number `since`."""
    found = (job for job in cluster.jobs() if job["rule"] == "rule_train_robust")
    return [job for job in found if int(job["id"]) > int(since)]


def last_job(cluster: Cluster) -> str:
    return max((job["id"] for job in cluster.jobs()), key=int, default="0")


def processes_of(job: str) -> list[int]:
    """Return the processes of `pyrobust train` that run in a job."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            in_job = f"SLURM_JOB_ID={job}\0".encode() in (folder / "environ").read_bytes()
            if in_job and b"\0pyrobust\0" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found

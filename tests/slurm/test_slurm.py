"""The smallest experiment through profiles/slurm on a real Slurm, interrupted in each way."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pyrobust.workflow.attempts import read_attempts
from tests.slurm.cluster import Cluster, NoSlurmError, find_programs, slurm
from tests.workflow.running import TINY, Project, copy_project

pytestmark = pytest.mark.slow

CHOICE = "results/train/tiny/choice.json"
TRAINING = "results/train/tiny/seed0/training.json"
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

# Stages that are submitted by themselves.
ALONE = ("make_dataset", "fit_generator", "train_labeller", "select_samples", "train_robust")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    try:
        find_programs()
        with slurm(tmp_path_factory.mktemp("slurm")) as running:
            yield running
    except NoSlurmError as error:
        pytest.skip(str(error))


def submit(
    cluster: Cluster, project: Project, *targets: str, overlay: Path | None = None
) -> subprocess.Popen[str]:
    command = ["snakemake", *targets, "--workflow-profile", "profiles/slurm", *OPTIONS]
    command += ["--configfile", TINY, "tests/slurm/longer.yaml", *([overlay] if overlay else [])]
    return subprocess.Popen(
        command, cwd=project, env=cluster.environment, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def wait_until_it_trains(
    cluster: Cluster, project: Project, run: subprocess.Popen[str], training: str = TRAINING
) -> str:
    """Return the number of the job that trains, once it has done some steps."""
    log = project / training.replace("training.json", "log.jsonl")
    while run.poll() is None:
        running = [job["id"] for job in cluster.jobs()
                   if "train_robust" in job["rule"] and job["state"] == "RUNNING"]  # fmt: skip
        if running and log.is_file() and log.stat().st_size:
            return running[0]
        time.sleep(0.5)
    raise AssertionError(f"no training was seen: {run.communicate()[0][-4000:]}")


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


def trainings(cluster: Cluster, since: int = 0) -> list[dict[str, str]]:
    """Return the jobs that trained, behind the number `since`."""
    found = (job for job in cluster.jobs() if job["rule"] == "rule_train_robust")
    return [job for job in found if int(job["id"]) > since]


def last_job(cluster: Cluster) -> int:
    return max((int(job["id"]) for job in cluster.jobs()), default=0)


def test_stages_reach_their_partitions_and_a_preempted_training_resumes(
    cluster: Cluster, tmp_path: Path
) -> None:
    project = copy_project(tmp_path)
    run = submit(cluster, project, CHOICE)
    try:
        training = wait_until_it_trains(cluster, project, run)
        urgent = cluster.preempt()
        wait_for_state(cluster, urgent, "COMPLETED")
    finally:
        output = finish(run)
    assert run.returncode == 0, output[-6000:]
    assert (project / CHOICE).is_file()
    jobs = {job["id"]: job for job in cluster.jobs()}
    by_rule = {job["rule"]: job for job in jobs.values()}

    # CPU stages in one partition, GPU stages in the other, with a GPU each.
    assert by_rule["rule_make_dataset"]["partition"] == "cpu"
    for rule in ("rule_fit_generator", "rule_train_labeller", "rule_train_robust"):
        assert by_rule[rule]["partition"] == "gpu"
        assert cluster.gpus(by_rule[rule]["id"]) == 1

    # Two parts, their labels and their distances are one submission, which shares one GPU.
    alone = {f"rule_{name}" for name in ALONE}
    (sampling,) = (
        job for job in jobs.values() if job["rule"] not in alone and job["partition"] != "urgent"
    )
    assert (sampling["partition"], cluster.gpus(sampling["id"])) == ("gpu", 1)
    assert (project / "results/samples/digits/tiny/labels/tiny/1/labels.json").is_file()

    # Slurm itself requeued the training: one job, the memory of before, the saved step.
    (job,) = trainings(cluster)
    assert (job["id"], job["state"], job["memory"]) == (training, "COMPLETED", "16000M")
    log = project / "logs/train_robust/tiny/seed0.log"
    assert [attempt.status for attempt in read_attempts(log)] in ([75, 0], [None, 0])
    assert RESUMED in log.read_text()


def test_a_training_outlives_its_wall_time_twice_with_the_memory_of_the_first_attempt(
    cluster: Cluster, tmp_path: Path
) -> None:
    project, before = copy_project(tmp_path), last_job(cluster)
    run = submit(cluster, project, TRAINED)
    try:
        ended: list[str] = []
        while len(ended) < 2:
            job = wait_until_it_trains(cluster, project, run, TRAINED)
            if job not in ended:
                cluster.end_wall_time(job)
                wait_for_state(cluster, job, "TIMEOUT", "COMPLETED", "FAILED")
                ended.append(job)
    finally:
        output = finish(run)
    assert run.returncode == 0, output[-6000:]
    jobs = trainings(cluster, before)
    assert [job["state"] for job in jobs] == ["TIMEOUT", "TIMEOUT", "COMPLETED"]
    assert {job["memory"] for job in jobs} == {"16000M"}
    log = (project / "logs/train_robust/tiny_no_generated/seed0.log").read_text()
    assert log.count(" started as Slurm job ") == 3, "an attempt's lines are gone"
    assert log.count(RESUMED) == 2


def test_a_killed_training_gets_twice_the_memory(cluster: Cluster, tmp_path: Path) -> None:
    project, before = copy_project(tmp_path), last_job(cluster)
    run = submit(cluster, project, TRAINED)
    try:
        job = wait_until_it_trains(cluster, project, run, TRAINED)
        for process in processes_of(job):
            os.kill(process, signal.SIGKILL)
    finally:
        output = finish(run)
    assert run.returncode == 0, output[-6000:]
    jobs = trainings(cluster, before)
    assert [job["memory"] for job in jobs] == ["16000M", "32000M"]
    assert {job["limit"] for job in jobs} == {"2-00:00:00"}


def processes_of(job: str) -> list[int]:
    """Return the processes of `pyrobust train` that run in a job."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            in_job = f"SLURM_JOB_ID={job}\0".encode() in (folder / "environ").read_bytes()
            if in_job and b"\0pyrobust\0" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def test_after_a_kill_of_snakemake_its_jobs_are_named_and_not_sent_again(
    cluster: Cluster, tmp_path: Path
) -> None:
    project, before = copy_project(tmp_path), last_job(cluster)
    run = submit(cluster, project, TRAINED)
    job = wait_until_it_trains(cluster, project, run, TRAINED)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    second = submit(cluster, project, TRAINED)
    output = finish(second)
    assert second.returncode != 0
    assert f"{job} (train_robust)" in output and f"scancel {job}" in output, output[-3000:]
    cluster.run("scancel", job)
    wait_for_state(cluster, job, "CANCELLED")
    third = submit(cluster, project, TRAINED)
    output = finish(third)
    assert third.returncode == 0, output[-6000:]
    assert [job["state"] for job in trainings(cluster, before)] == ["CANCELLED", "COMPLETED"]


def test_a_failed_job_names_its_log_and_shows_its_sentence(
    cluster: Cluster, tmp_path: Path
) -> None:
    project = copy_project(tmp_path / "project")
    overlay = tmp_path / "flowers.yaml"
    overlay.write_text("datasets: {flowers: {layout: folder}}")
    target = "resources/datasets/flowers/dataset.json"
    (project / "resources/raw/flowers").mkdir(parents=True)
    output = finish(submit(cluster, project, target, "--retries", "0", overlay=overlay))
    assert "logs/make_dataset/flowers.log" in output, output[-3000:]
    assert "pyrobust: " in output and "resources/raw/flowers" in output, output[-3000:]
    assert "run the same command" in output, output[-3000:]
    assert not (project / target).exists()


def test_more_memory_than_there_is_ends_in_slurms_own_words(
    cluster: Cluster, tmp_path: Path
) -> None:
    project = copy_project(tmp_path)
    target = "results/labellers/digits/tiny/labeller.json"
    (project / "resources/datasets/digits").mkdir(parents=True)
    (project / "resources/datasets/digits/dataset.json").write_text("{}")
    run = submit(cluster, project, target, "--set-resources", "train_labeller:mem_mb=900000000",
                 "--retries", "0")  # fmt: skip
    output = finish(run)
    assert run.returncode != 0
    assert "Requested node configuration is not available" in output, output[-3000:]

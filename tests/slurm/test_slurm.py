"""The smallest experiment through profiles/slurm on a real Slurm, its training pre-empted."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, NoSlurmError, find_programs, slurm
from tests.workflow.running import TINY, Project, copy_project

pytestmark = pytest.mark.slow

CHOICE = "results/train/tiny/choice.json"
TRAINING = "results/train/tiny/seed0"
# What a test cluster needs beside the profile: it has no accounting, and answers at once.
OPTIONS = [
    *("--slurm-status-command", "squeue", "--slurm-no-account"),
    *("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "10"),
]
LIMIT_SECONDS = 600

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


def wait_until_it_trains(cluster: Cluster, project: Project, run: subprocess.Popen[str]) -> str:
    """Return the number of the job that trains, once it has done some steps."""
    log = project / TRAINING / "log.jsonl"
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


def test_stages_reach_their_partitions_and_a_preempted_training_goes_on(
    cluster: Cluster, tmp_path: Path
) -> None:
    project = copy_project(tmp_path)
    run = submit(cluster, project, CHOICE)
    try:
        cluster.preempt(wait_until_it_trains(cluster, project, run))
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
    (sampling,) = (job for job in jobs.values() if job["rule"] not in alone)
    assert (sampling["partition"], cluster.gpus(sampling["id"])) == ("gpu", 1)
    assert (project / "results/samples/digits/tiny/labels/tiny/1/labels.json").is_file()

    # The second attempt had twice the memory and wall time, and went on from the saved step.
    first, second = (job for job in jobs.values() if job["rule"] == "rule_train_robust")
    assert (first["state"], second["state"]) == ("CANCELLED", "COMPLETED")
    assert (first["memory"], second["memory"]) == ("16000M", "32000M")
    assert (first["limit"], second["limit"]) == ("2-00:00:00", "4-00:00:00")
    assert "going on from step" in (project / "logs/train_robust/tiny/seed0.log").read_text()


def test_a_failed_job_names_its_log_and_shows_its_sentence(
    cluster: Cluster, tmp_path: Path
) -> None:
    project = copy_project(tmp_path / "project")
    overlay = tmp_path / "flowers.yaml"
    overlay.write_text("datasets: {flowers: {layout: folder}}")
    target = "resources/datasets/flowers/dataset.json"
    output = finish(submit(cluster, project, target, "--retries", "0", overlay=overlay))
    assert "logs/make_dataset/flowers.log" in output, output[-3000:]
    assert "pyrobust: " in output and "resources/raw/flowers" in output, output[-3000:]
    assert "the same command goes on" in output, output[-3000:]
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

"""The smallest experiment through profiles/slurm on a real Slurm, interrupted in each way."""

import os
import signal
from pathlib import Path

import pytest

from pyrobust.workflow.attempts import read_attempts
from tests.slurm.cluster import Cluster
from tests.slurm.gated_training import Gate
from tests.slurm.running import (
    CHOICE,
    RESUMED,
    TRAINED,
    copy_with_gate,
    finish,
    last_job,
    processes_of,
    submit,
    trainings,
    wait_for_state,
    wait_until_it_trains,
)
from tests.workflow.running import Project

pytestmark = pytest.mark.slow

# Stages that are submitted by themselves.
ALONE = ("make_dataset", "fit_generator", "train_labeller", "select_samples", "train_robust")


def test_stages_reach_their_partitions_and_a_preempted_training_resumes(
    cluster: Cluster, tmp_path: Path
) -> None:
    project = copy_with_gate(tmp_path)
    before = last_job(cluster)
    run = submit(cluster, project, CHOICE)
    try:
        training = wait_until_it_trains(cluster, project, run, since=before)
        urgent = cluster.preempt()
        wait_for_state(cluster, urgent, "COMPLETED")
    finally:
        Gate(project).open()
        output = finish(run)
    assert run.returncode == 0, output[-6000:]
    assert (project / CHOICE).is_file()
    jobs = {job["id"]: job for job in cluster.jobs() if int(job["id"]) > int(before)}
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
    (job,) = trainings(cluster, before)
    assert (job["id"], job["state"], job["memory"]) == (training, "COMPLETED", "16000M")
    log = project / "logs/train_robust/tiny/seed0.log"
    assert [attempt.status for attempt in read_attempts(log)] == [75, 0]
    assert RESUMED in log.read_text()


def test_a_training_outlives_its_wall_time_twice_with_the_memory_of_the_first_attempt(
    cluster: Cluster, project: Project
) -> None:
    before = job = last_job(cluster)
    run = submit(cluster, project, TRAINED)
    try:
        for _ in range(2):
            job = wait_until_it_trains(cluster, project, run, since=job)
            cluster.end_wall_time(job)
            wait_for_state(cluster, job, "TIMEOUT")
    finally:
        Gate(project).open()
        output = finish(run)
    assert run.returncode == 0, output[-6000:]
    jobs = trainings(cluster, before)
    assert [job["state"] for job in jobs] == ["TIMEOUT", "TIMEOUT", "COMPLETED"]
    assert {job["memory"] for job in jobs} == {"16000M"}
    log = (project / "logs/train_robust/tiny_no_generated/seed0.log").read_text()
    assert log.count(" started as Slurm job ") == 3, "an attempt's lines are gone"
    assert log.count(RESUMED) == 2


def test_a_killed_training_gets_twice_the_memory(cluster: Cluster, project: Project) -> None:
    before = last_job(cluster)
    run = submit(cluster, project, TRAINED)
    try:
        job = wait_until_it_trains(cluster, project, run, since=before)
        for process in processes_of(job):
            os.kill(process, signal.SIGKILL)
    finally:
        Gate(project).open()
        output = finish(run)
    assert run.returncode == 0, output[-6000:]
    jobs = trainings(cluster, before)
    assert [job["memory"] for job in jobs] == ["16000M", "32000M"]
    assert {job["limit"] for job in jobs} == {"2-00:00:00"}


def test_after_a_kill_of_snakemake_its_jobs_are_named_and_not_sent_again(
    cluster: Cluster, project: Project
) -> None:
    before = last_job(cluster)
    run = submit(cluster, project, TRAINED)
    job = wait_until_it_trains(cluster, project, run, since=before)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    second = submit(cluster, project, TRAINED)
    output = finish(second)
    assert second.returncode != 0
    assert f"{job} (train_robust)" in output and f"scancel {job}" in output, output[-3000:]
    cluster.run("scancel", job)
    wait_for_state(cluster, job, "CANCELLED")
    Gate(project).open()
    third = submit(cluster, project, TRAINED)
    output = finish(third)
    assert third.returncode == 0, output[-6000:]
    assert [job["state"] for job in trainings(cluster, before)] == ["CANCELLED", "COMPLETED"]


def test_a_failed_job_names_its_log_and_shows_its_sentence(
    cluster: Cluster, project: Project, tmp_path: Path
) -> None:
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
    cluster: Cluster, project: Project
) -> None:
    target = "results/labellers/digits/tiny/labeller.json"
    run = submit(cluster, project, target, "--set-resources", "train_labeller:mem_mb=900000000",
                 "--retries", "0")  # fmt: skip
    output = finish(run)
    assert run.returncode != 0
    assert "Requested node configuration is not available" in output, output[-3000:]

"""One training on two nodes of a real Slurm."""

import os
import shutil
import signal
from pathlib import Path

import pytest
import yaml

from pyrobust.workflow.attempts import read_attempts
from tests.slurm.cluster import Cluster
from tests.slurm.gated_training import Gate
from tests.slurm.running import (
    GATED,
    PROFILE,
    RESUMED,
    TRAINED,
    finish,
    last_job,
    processes_of,
    submit,
    trainings,
    wait_for_state,
    wait_until_it_trains,
)
from tests.workflow.running import Project, snakemake

pytestmark = pytest.mark.slow

# As docs/cluster.md names them.
TWO_NODES = {"nodes": 2, "tasks": 2, "tasks_per_gpu": 0, "mpi": "srun", "gpu": 0, "gres": "gpu:1"}


def profile_of_two_nodes(project: Project) -> str:
    """Write a copy of the profile in which trainings take two nodes."""
    values = yaml.safe_load((project / PROFILE / "profile.v9+.yaml").read_text())
    values["set-resources"]["train_robust"].update(TWO_NODES)
    values["set-threads"] = {"train_robust": 1}  # for each process, as on one node below
    folder = project / "profiles/nodes"
    folder.mkdir()
    (folder / "profile.v9+.yaml").write_text(yaml.safe_dump(values))
    return "profiles/nodes"


def process_of_rank(job: str, rank: int) -> int:
    """Return the process of a training with this rank."""
    (found,) = (
        process
        for process in processes_of(job)
        if f"\0RANK={rank}\0".encode() in Path(f"/proc/{process}/environ").read_bytes()
    )
    return found


def test_a_training_on_two_nodes_survives_a_failure_and_its_wall_time_with_the_bytes_of_one_node(
    cluster: Cluster, project: Project, tmp_path: Path
) -> None:
    one_node = shutil.copytree(project, tmp_path / "one_node")
    before = last_job(cluster)
    run = submit(cluster, project, TRAINED, profile=profile_of_two_nodes(project))
    try:
        first = wait_until_it_trains(cluster, project, run, since=before)
        os.kill(process_of_rank(first, 1), signal.SIGKILL)
        wait_for_state(cluster, first, "FAILED")
        assert not processes_of(first)
        second = wait_until_it_trains(cluster, project, run, since=first)
        cluster.end_wall_time(second)
        wait_for_state(cluster, second, "TIMEOUT")
    finally:
        Gate(project).open()
        output = finish(run)
    assert run.returncode == 0, output[-6000:]
    jobs = trainings(cluster, before)
    assert [job["state"] for job in jobs] == ["FAILED", "TIMEOUT", "COMPLETED"]
    assert {job["nodes"] for job in jobs} == {"2"}
    log = project / "logs/train_robust/tiny_no_generated/seed0.log"
    assert [attempt.status for attempt in read_attempts(log)] == [137, 75, 0]
    text = log.read_text()
    assert "pyrobust: a node or a process of the training failed" in text
    assert text.count(RESUMED) >= 1

    Gate(one_node).open()
    options = ("--set-resources", "train_robust:gpu=2", "--resources", "gpu=2", "--set-threads",
               "train_robust=1")  # fmt: skip
    alone = snakemake(one_node, *options, targets=(TRAINED,), overlays=(GATED,))
    assert alone.returncode == 0, alone.stdout[-6000:]
    for name in ("training.json", "model.safetensors"):
        file = Path(TRAINED).with_name(name)
        assert (project / file).read_bytes() == (one_node / file).read_bytes()

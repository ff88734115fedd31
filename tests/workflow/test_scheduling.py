"""Wall times, and a simulation of the order in which jobs take GPUs."""

import heapq
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pyrobust.config.experiment import read_config
from pyrobust.errors import UserError
from pyrobust.planning.plan import plan_experiment
from pyrobust.planning.rates import read_machines
from pyrobust.planning.sizes import count_images
from pyrobust.workflow.scheduling import (
    PRIORITIES,
    WALL_TIMES,
    allowance,
    count_gpus,
    read_profile,
)
from tests.workflow.running import ROOT

GPUS = 8


class Job(NamedTuple):
    rule: str
    hours: float
    after: tuple[str, ...]


def makespan(jobs: Mapping[str, Job], priorities: Mapping[str, int]) -> float:
    """Return the hours until all jobs are done, each on one of `GPUS` GPUs.

    Whenever a GPU is free it takes the ready job of the highest priority, as snakemake does; of
    equal ones that which was named first.
    """
    done: set[str] = set()
    waiting, running, now = dict(jobs), [], 0.0
    while waiting or running:
        ready = [name for name, job in waiting.items() if done.issuperset(job.after)]
        ready.sort(key=lambda name: -priorities.get(jobs[name].rule, 0))
        for name in ready[: GPUS - len(running)]:
            heapq.heappush(running, (now + waiting.pop(name).hours, name))
        now, ended = heapq.heappop(running)
        done.add(ended)
    return now


def branch(name: str, samples: int, runs: int = 2) -> dict[str, Job]:
    """Return the GPU jobs of an experiment of CIFAR-10's, with hours from the plan."""
    config = read_config([ROOT / "config/config.yaml"])
    experiment = config.experiments["cifar10_linf"].model_copy(update={"num_samples": samples})
    generator = config.generators["ddpm"].model_copy(update={"part_size": samples // 40})
    config = config.model_copy(
        update={
            "experiments": {"cifar10_linf": experiment},
            "generators": {"ddpm": generator},
        }
    )
    images = count_images("cifar10", config.datasets["cifar10"], Path("none"))
    plan = plan_experiment(config, "cifar10_linf", images, read_machines()["h100"])
    hours = {stage.name: stage.seconds / stage.jobs / 3600 for stage in plan.stages}
    count = {stage.name: stage.jobs for stage in plan.stages}
    parts = [f"{name} part {number}" for number in range(count["sample"])]
    jobs = {part: Job("sample_part", hours["sample"], ()) for part in parts}
    jobs[f"{name} select"] = Job("select_samples", hours["select"], tuple(parts))
    for run in range(runs):
        train = f"{name} run {run}"
        jobs[train] = Job("train_robust", hours["train"], (f"{name} select",))
        jobs[f"{train} attack"] = Job("evaluate_run", hours["evaluate"], (train,))
    return jobs


def test_a_long_sampling_is_not_left_for_the_end() -> None:
    # Trainings that could start at once, and a branch whose samples take longest.
    short = {f"other {number}": Job("train_robust", 60.0, ()) for number in range(3 * GPUS)}
    jobs = {**short, **branch("large", 5_000_000)}
    own = branch("large", 5_000_000)
    alone = makespan(own, PRIORITIES)
    work = sum(job.hours for job in jobs.values()) / GPUS
    bound = max(alone, work)
    with_priorities, without = makespan(jobs, PRIORITIES), makespan(jobs, {})
    assert with_priorities < 1.1 * bound
    assert with_priorities < without


def test_what_a_rule_needs_has_a_higher_priority_than_the_rule() -> None:
    order = ("make_dataset", "fit_generator", "sample_part", "select_samples", "train_robust",
             "evaluate_run")  # fmt: skip
    ranks = [PRIORITIES[rule] for rule in order]
    assert ranks == sorted(ranks, reverse=True) and len(set(ranks)) == len(ranks)


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({}, 1),
        ({"gpu": 4}, 4),
        ({"gpu": 0}, 1),  # a cluster without GPUs
        ({"gpu": 0, "gres": "gpu:4"}, 4),
        ({"gpu": 0, "gres": "gpu:h100:2"}, 2),
        ({"gpu": 0, "gres": "gpu"}, 1),
        ({"gpu": 0, "gres": "lscratch:400"}, 1),
    ],
)
def test_the_gpus_of_a_job_are_counted_however_a_site_asks_for_them(
    given: dict[str, Any], count: int
) -> None:
    assert count_gpus(**given) == count


def test_no_job_asks_for_more_than_two_days() -> None:
    assert max(WALL_TIMES.values()) <= 2 * 24 * 60


def test_a_profile_says_how_long_a_job_may_run(tmp_path: Path) -> None:
    (tmp_path / "profile.v9+.yaml").write_text(
        "retries: 3\nset-resources: {train_robust: {runtime: 120}, evaluate_run: {gpu: 2}}\n"
    )
    profile = read_profile(tmp_path)
    assert allowance(profile, "train_robust").seconds == 4 * 120 * 60
    assert allowance(profile, "evaluate_run").minutes == WALL_TIMES["evaluate_run"]
    assert allowance(profile, "find_neighbours", whole_sets=True).minutes == 1440


def test_a_folder_without_a_profile_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"contains no profile\.v9\+\.yaml"):
        read_profile(tmp_path)


@pytest.mark.parametrize(
    ("runtime", "minutes"), [(60, 60), ("90m", 90), ("48h", 2880), ("2d", 2880)]
)
def test_a_profile_states_runtimes_as_snakemake_reads_them(
    runtime: int | str, minutes: int
) -> None:
    profile = {"set-resources": {"train_robust": {"runtime": runtime}}, "retries": 2}
    allowed = allowance(profile, "train_robust")
    assert (allowed.attempts, allowed.minutes) == (3, minutes)
    profile["set-resources"]["train_robust"]["runtime"] = "soon"
    with pytest.raises(UserError, match="runtime is 'soon'"):
        allowance(profile, "train_robust")

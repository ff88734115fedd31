"""Wall times, and a simulation of the order in which jobs take GPUs."""

import heapq
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pyrobust.config.sweeps import resolve_targets
from pyrobust.errors import UserError
from pyrobust.planning.paper import plan_point, read_configuration
from pyrobust.planning.rates import read_machines
from pyrobust.workflow.scheduling import (
    PRIORITIES,
    WALL_TIMES,
    allowance,
    count_gpus,
    read_profile,
)
from tests.workflow.running import ROOT

GPUS = 8
SHARES = 8  # evaluation_jobs


class Job(NamedTuple):
    rule: str
    hours: float
    after: tuple[str, ...]


def end_times(jobs: Mapping[str, Job], priorities: Mapping[str, int]) -> dict[str, float]:
    """Return when each job ends, in hours, each on one of `GPUS` GPUs.

    Whenever a GPU is free it takes the ready job of the highest priority, as snakemake does; of
    equal ones that which was named first.
    """
    rank = {name: (-priorities.get(jobs[name].rule, 0), place) for place, name in enumerate(jobs)}
    missing = {name: len(job.after) for name, job in jobs.items()}
    behind: dict[str, list[str]] = {name: [] for name in jobs}
    for name, job in jobs.items():
        for needed in job.after:
            behind[needed].append(name)
    ready = sorted((rank[name], name) for name, count in missing.items() if not count)
    running: list[tuple[float, str]] = []
    ends: dict[str, float] = {}
    now = 0.0
    while ready or running:
        while ready and len(running) < GPUS:
            _, name = heapq.heappop(ready)
            heapq.heappush(running, (now + jobs[name].hours, name))
        now, ended = heapq.heappop(running)
        ends[ended] = now
        for name in behind[ended]:
            missing[name] -= 1
            if not missing[name]:
                heapq.heappush(ready, (rank[name], name))
    assert len(ends) == len(jobs)
    return ends


def table2(reverse: bool) -> dict[str, Job]:
    """Return the GPU jobs of Table 2 with the hours of a plan, each attack in shares.

    Args:
        reverse: name the jobs of the last row first.
    """
    values = read_configuration(ROOT / "config").model_dump(mode="json")
    sweeps = resolve_targets(values, ROOT / "config/sweeps")
    values["experiments"] |= sweeps.experiments
    machine = read_machines()["h100"]
    jobs: dict[str, Job] = {}
    for point in sweeps.points["table2"][:: -1 if reverse else 1]:
        name = point["experiment"]
        experiment = values["experiments"][name]
        stages = plan_point(values, name, point["evaluation"], machine).stages
        hours = {stage.name: stage.seconds / stage.jobs / 3600 for stage in stages}
        count = {stage.name: stage.jobs for stage in stages}
        after: tuple[str, ...] = ()
        if "sample" in hours:
            dataset, source = experiment["dataset"], "{dataset} {generator}".format_map(experiment)
            jobs[f"{dataset} labeller"] = Job("train_labeller", hours["train-labeller"], ())
            jobs[f"{source} fit"] = Job("fit_generator", hours["fit-generator"], ())
            needed = (f"{source} fit", f"{dataset} labeller")
            parts = tuple(f"{source} part {number}" for number in range(count["sample"]))
            for part in parts:
                jobs[part] = Job("sample_part", hours["sample"] + hours["label"], needed)
            after = (f"{source} {experiment['selection']} {experiment['num_samples']}",)
            jobs[after[0]] = Job("select_samples", hours["select"], parts)
        runs = tuple(f"{name} seed {seed}" for seed in experiment["seeds"])
        for run in runs:
            jobs[run] = Job("train_robust", hours["train"], after)
        for share in range(SHARES):
            jobs[f"{name} share {share}"] = Job("evaluate_run", hours["evaluate"] / SHARES, runs)
    return jobs


def test_eight_gpus_finish_table2_near_the_time_that_its_work_takes() -> None:
    # Whatever is named first: Snakemake's order of equal jobs is arbitrary.
    in_turn, reverse = table2(reverse=False), table2(reverse=True)
    assert sum(name.startswith("cifar10 ddpm part") for name in in_turn) > 1000
    bound = sum(job.hours for job in in_turn.values()) / GPUS
    finished, without = (
        [max(end_times(jobs, priorities).values()) for jobs in (in_turn, reverse)]
        for priorities in (PRIORITIES, {})
    )
    assert max(finished) < 1.1 * bound
    assert max(without) > max(finished) + 200


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
        ({"gpu": 8, "nodes": 2}, 4),
        ({"gpu": 0, "gres": "gpu:4", "nodes": 2}, 4),
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

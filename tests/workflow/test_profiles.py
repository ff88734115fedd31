"""What the cluster profile asks for, seen in a dry run of every rule."""

import re
import shutil
from collections.abc import Iterator

import pytest
import yaml

from tests.workflow.running import ROOT, TABLE_FILES, TABLES_CONFIG, copy_project, snakemake

Resources = dict[str, str]


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Resources]:
    """Return the resources of a job of each rule under profiles/slurm."""
    project = copy_project(tmp_path_factory.mktemp("profile"))
    for sweep in (ROOT / "tests/workflow/sweeps").glob("*.tsv"):
        shutil.copy(sweep, project / "config/sweeps")
    run = snakemake(
        project, "--dry-run", "--workflow-profile", "profiles/slurm",
        targets=("results/tiny.json", *TABLE_FILES), overlays=(TABLES_CONFIG,),
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-4000:]
    return dict(resources_of(run.stdout))


def resources_of(output: str) -> Iterator[tuple[str, Resources]]:
    for block in re.split(r"^ *(?:local)?rule ", output, flags=re.M)[1:]:
        name = block.split(":", 1)[0]
        line = re.search(r"^ +resources: (.*)$", block, re.M)
        yield name, dict(re.findall(r"(\w+)=([^,]+)", line[1])) if line else {}


def test_rules_that_ask_for_a_gpu_and_no_others_go_to_its_partition(
    jobs: dict[str, Resources],
) -> None:
    asking = {name for name, resources in jobs.items() if "gpu" in resources}
    sent = {name for name, found in jobs.items() if found.get("slurm_partition") == "gpu"}
    assert {"train_robust", "attack_share_again", "find_neighbours"} <= asking
    assert sent == asking


def test_every_rule_of_the_profile_is_there(jobs: dict[str, Resources]) -> None:
    profile = yaml.safe_load((ROOT / "profiles/slurm/profile.v9+.yaml").read_text())
    assert set(profile["set-resources"]) <= set(jobs)


def test_every_submitted_job_states_its_memory_and_wall_time(jobs: dict[str, Resources]) -> None:
    submitted = {name: found for name, found in jobs.items() if "slurm_partition" in found}
    assert len(submitted) > 15
    for name, found in submitted.items():
        assert int(found["mem_mb"]) >= 4000 and int(found["runtime"]) >= 10, name

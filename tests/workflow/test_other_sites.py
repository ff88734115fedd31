"""Clusters unlike the one of profiles/slurm, as docs/cluster.md describes them, with a stand-in.

A real Slurm runs in tests/slurm.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.workflow.running import ROOT, TINY, Project

pytestmark = pytest.mark.slow

COMMANDS = ("sbatch", "squeue", "srun", "scontrol", "scancel", "sacct")
GENERATOR = "results/generators/digits/tiny/generator.json"
# The stand-in has no accounting and answers at once.
OPTIONS = [
    *("--slurm-status-command", "squeue", "--slurm-no-account"),
    *("--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5"),
    *("--retries", "0"),
]


class Site:
    """A site whose Slurm is the stand-in."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._jobs = folder / "jobs"
        self._jobs.mkdir(parents=True)
        for command in COMMANDS:
            shutil.copy(Path(__file__).parent / "stand_in_slurm.sh", folder / command)
            (folder / command).chmod(0o755)
        path = f"{folder}{os.pathsep}{environment['PATH']}"
        self._environment = {**environment, "PATH": path, "STAND_IN_SLURM": str(self._jobs)}

    def snakemake(self, project: Project, *options: str) -> str:
        """Run snakemake for the generator of the tiny experiment, and return what it prints."""
        command = ["snakemake", GENERATOR, *OPTIONS, *options, "--configfile", TINY]
        run = subprocess.run(
            command, cwd=project, env=self._environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=600, check=False,
        )  # fmt: skip
        logs = "".join(log.read_text() for log in self._jobs.glob("*.log"))
        assert run.returncode == 0, run.stdout[-4000:] + logs[-4000:]
        return run.stdout + logs

    def asked_for(self, rule: str) -> list[str]:
        """Return the arguments of the submission of a rule."""
        calls = [call.read_text().splitlines() for call in self._jobs.glob("*.call")]
        (found,) = (call for call in calls if any(f"rule_{rule}_" in word for word in call))
        return [word for word in found if not word.startswith("--wrap=")]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Return a separate site."""
    return Site(tmp_path / "site", dict(os.environ))


def adapted_profile(project: Project, **resources: Any) -> str:
    """Write a copy of the profile in which every GPU rule has these resources as well."""
    values = yaml.safe_load((ROOT / "profiles/slurm/profile.v9+.yaml").read_text())
    for of_rule in values["set-resources"].values():
        of_rule.update(resources)
    values["set-threads"] = {"fit_generator": 3}
    (project / "profiles/mine").mkdir(parents=True)
    (project / "profiles/mine/profile.v9+.yaml").write_text(yaml.safe_dump(values))
    return "profiles/mine"


def test_a_cluster_without_gpus_is_asked_for_none(site: Site, project: Project) -> None:
    profile = adapted_profile(project, gpu=0, slurm_partition="cpu")
    site.snakemake(project, "--workflow-profile", profile)
    words = site.asked_for("fit_generator")
    assert not [word for word in words if word.startswith(("--gpu", "--gres"))]
    assert words[words.index("-p") + 1] == "cpu"
    assert {"--ntasks=1", "--cpus-per-task=3"} <= set(words)


def test_a_site_that_wants_gres_is_asked_for_nothing_else(site: Site, project: Project) -> None:
    profile = adapted_profile(project, gpu=0, gres="gpu:1")
    site.snakemake(project, "--workflow-profile", profile)
    words = site.asked_for("fit_generator")
    asked = [word for word in words if word.startswith(("--gpu", "--gres"))]
    assert asked == ["--gres=gpu:1"]
    assert words[words.index("-p") + 1] == "gpu"


def test_jobs_run_in_the_environment_and_the_folder_of_the_command(
    project: Project, conda: dict[str, str], tmp_path: Path
) -> None:
    site = Site(tmp_path / "site", conda)
    work = tmp_path / "my work"
    shutil.copytree(ROOT / "config", work / "config")
    shutil.copytree(project / "resources", work / "resources")
    options = ("--use-conda", "--directory", str(work))
    output = site.snakemake(project, "--workflow-profile", "profiles/slurm", *options)
    assert (work / GENERATOR).is_file() and not (project / GENERATOR).exists()
    words = site.asked_for("fit_generator")
    assert words[words.index("-D") + 1] == str(work)
    assert "Activating conda environment: .snakemake/conda/" in output

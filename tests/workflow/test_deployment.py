"""The workflow as others use it: as a module, by snakedeploy, and in a container."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.workflow.running import ROOT, TINY, Project, copy_project, job_counts

MODULE = """
configfile: "config/config.yaml"
configfile: "config/targets.yaml"


module pyrobust:
    snakefile:
        "{root}/workflow/Snakefile"
    config:
        config


use rule * from pyrobust as robust_*


rule mine:
    default_target: True
    input:
        "results/digits_linf.json",
"""


def run(
    *command: str, folder: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **(environment or {})}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=600, check=False,
    )  # fmt: skip


def test_another_workflow_can_use_the_rules_as_a_module(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "Snakefile").write_text(MODULE.format(root=ROOT))
    planned = run("snakemake", "--cores", "2", "--dry-run", folder=tmp_path)
    assert planned.returncode == 0, planned.stdout[-3000:]
    counts = job_counts(planned.stdout)
    assert (counts["robust_train_robust"], counts["mine"]) == (8, 1)


@pytest.fixture
def published(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which git finds this project at github.com/someone/pyrobust."""
    clone = copy_project(tmp_path / "hosts/someone/pyrobust")
    (clone / ".gitignore").write_text("/resources/\n*.so\n")
    as_someone = ("-c", "user.name=someone", "-c", "user.email=someone@example.org")
    for words in (("init", "-q"), ("add", "."), (*as_someone, "commit", "-qm", "."), ("tag", "v1")):
        done = run("git", *words, folder=clone)
        assert done.returncode == 0, done.stdout
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{tmp_path}/hosts/.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }


# As `snakedeploy deploy-workflow https://github.com/someone/pyrobust mine --tag v1` writes it.
DEPLOYED = """from snakemake.utils import min_version


min_version("6.10.0")


configfile: "config/config.yaml"


# declare https://github.com/someone/pyrobust as a module
module pyrobust:
    snakefile:
        github("someone/pyrobust", path="workflow/Snakefile", tag="v1")
    config:
        config


# use all rules from https://github.com/someone/pyrobust
use rule * from pyrobust
"""


def test_snakedeploy_writes_what_the_next_test_runs(
    tmp_path: Path, published: dict[str, str]
) -> None:
    if shutil.which("snakedeploy") is None:
        pytest.skip("needs snakedeploy, which is not locked: it refuses Python 3.13")
    address = "https://github.com/someone/pyrobust"
    command = ("snakedeploy", "deploy-workflow", address, "mine", "--tag", "v1")
    done = run(*command, folder=tmp_path, environment=published)
    assert done.returncode == 0, done.stdout
    written = (tmp_path / "mine/workflow/Snakefile").read_text().splitlines()
    assert [line.rstrip() for line in written] == DEPLOYED.splitlines()
    for name in ("config/config.yaml", "config/sweeps", "profiles/slurm/profile.v9+.yaml"):
        assert (tmp_path / "mine" / name).exists(), name


@pytest.mark.slow
def test_a_deployed_workflow_runs_beside_an_installed_package(
    tmp_path: Path, published: dict[str, str]
) -> None:
    mine = tmp_path / "mine"
    for name in ("config", "profiles"):
        shutil.copytree(ROOT / name, mine / name)
    (mine / "workflow").mkdir()
    (mine / "workflow/Snakefile").write_text(DEPLOYED)
    planned = run("snakemake", "--cores", "2", "--dry-run", folder=mine, environment=published)
    assert planned.returncode == 0, planned.stdout[-3000:]
    assert job_counts(planned.stdout)["train_robust"] == 8
    dataset = "resources/datasets/digits/dataset.json"
    made = run("snakemake", "--cores", "2", dataset, folder=mine, environment=published)
    assert made.returncode == 0, made.stdout[-3000:]
    assert (mine / dataset).is_file()


@pytest.mark.slow
def test_jobs_run_in_the_image_that_the_configuration_names(project: Project) -> None:
    tools = project / "tools"
    tools.mkdir()
    shutil.copy(Path(__file__).with_name("stand_in_apptainer.sh"), tools / "apptainer")
    (tools / "apptainer").chmod(0o755)
    (project / "image.sif").touch()
    environment = {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "STAND_IN_APPTAINER": str(tools),
    }
    target = "results/generators/digits/tiny/generator.json"
    options = ("--software-deployment-method", "apptainer", "--configfile", TINY)
    command = ("snakemake", target, "--cores", "2", *options, "--config", "container=image.sif")
    done = run(*command, folder=project, environment=environment)
    assert done.returncode == 0, done.stdout[-4000:]
    calls = (tools / "calls").read_text()
    for verb in ("dataset", "fit-generator"):
        assert any("image.sif" in call and f" {verb} " in call for call in calls.splitlines()), (
            calls
        )

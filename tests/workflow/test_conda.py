"""`--use-conda` with a stand-in: every rule names its environment, and runs in it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.workflow.running import ROOT, TINY, Project

STAND_IN = Path(__file__).parent / "stand_in_conda.sh"


@pytest.fixture
def stand_in(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which `conda` is the stand-in."""
    prefix = tmp_path / "conda"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin/conda").write_text(STAND_IN.read_text())
    (prefix / "bin/conda").chmod(0o755)
    activate = prefix / "bin/activate"
    activate.write_text('export PATH="$1/bin:$PATH"; export CONDA_PREFIX="$1"\n')
    return {
        **os.environ,
        "PATH": f"{prefix / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "STAND_IN_CONDA": str(prefix),
        "STAND_IN_PYTHON": str(Path(sys.executable).parent),
    }


@pytest.mark.slow
def test_a_stage_runs_in_the_environment_that_its_rule_names(
    project: Project, stand_in: dict[str, str]
) -> None:
    target = "results/generators/digits/tiny/generator.json"
    run = subprocess.run(
        ["snakemake", target, "--use-conda", "--cores", "2", "--configfile", TINY],
        cwd=project, env=stand_in, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=600, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-4000:]
    assert (project / target).is_file()
    calls = (Path(stand_in["STAND_IN_CONDA"]) / "calls").read_text()
    assert len(re.findall("^env create", calls, re.M)) == 1, calls  # one for both stages
    assert "Activating conda environment: .snakemake/conda/" in run.stdout


def test_every_rule_that_runs_a_command_names_an_environment() -> None:
    for rules in (ROOT / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"^rule ", rules.read_text(), flags=re.M)[1:]:
            if "shell:" in rule:
                assert 'conda:\n        "../../envs/pyrobust.yaml"' in rule, (rules, rule[:40])


def test_versions_are_exact_and_other_channels_refused() -> None:
    environment = yaml.safe_load((ROOT / "envs/pyrobust.yaml").read_text())
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    (packages,) = (e["pip"] for e in environment["dependencies"] if isinstance(e, dict))
    plain = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    assert all(re.fullmatch(r"[a-z0-9_-]+ =[0-9.]+", entry) for entry in plain), plain
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+", entry) for entry in packages), packages

"""`--use-conda` with a stand-in: every rule names its environment, and runs in it."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.workflow.running import ROOT, TINY, Project


@pytest.mark.slow
def test_a_stage_runs_in_the_environment_that_its_rule_names(
    project: Project, conda: dict[str, str]
) -> None:
    target = "results/generators/digits/tiny/generator.json"
    run = subprocess.run(
        ["snakemake", target, "--use-conda", "--cores", "2", "--configfile", TINY],
        cwd=project, env=conda, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=600, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-4000:]
    assert (project / target).is_file()
    calls = (Path(conda["STAND_IN_CONDA"]) / "calls").read_text()
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

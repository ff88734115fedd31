"""Continuous integration, pre-commit and `make lint` check the same."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def test_github_runs_what_is_run_by_hand_and_nothing_else() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    steps = workflow["jobs"]["test"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


def test_pre_commit_has_every_check_of_make_lint() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    makefile = (ROOT / "Makefile").read_text()
    recipe = makefile.split("lint: install\n")[1].split("\n\n")[0]
    commands = [line.strip() for line in recipe.splitlines()]
    assert len(hooks) == len(commands)
    for hook in hooks:
        assert any(command.startswith(hook["entry"]) for command in commands), hook["entry"]


@pytest.mark.slow
def test_pre_commit_finds_nothing(tmp_path: Path) -> None:
    if shutil.which("pre-commit") is None or not (ROOT / ".git").exists():
        pytest.skip("needs pre-commit (requirements.lock) and a clone")
    # mypy takes a minute, and `make lint` has run it.
    environment = {**os.environ, "SKIP": "mypy", "PRE_COMMIT_HOME": str(tmp_path)}
    run = subprocess.run(
        ["pre-commit", "run", "--all-files"], cwd=ROOT, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
    assert run.stdout.count("Passed") == 4, run.stdout

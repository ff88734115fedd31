"""Continuous integration, pre-commit and `make lint` check the same."""

import importlib.util
import os
import re
import shutil
import subprocess
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import yaml

ROOT = Path(__file__).parents[1]


def targets_of_make_test() -> set[str]:
    (line,) = re.findall(r"^test: (.*)$", (ROOT / "Makefile").read_text(), re.M)
    return set(line.split())


def test_github_runs_every_target_of_make_test_and_nothing_else() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    runs = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert runs == [f"make {name} CUDA=1" for name in jobs]
    assert set(jobs) == targets_of_make_test()


def test_continuous_integration_by_hand_runs_make_test() -> None:
    script = ROOT / ".ci/run"
    assert script.stat().st_mode & 0o111
    assert script.read_text().splitlines()[-1] == "make test CUDA=1"


def test_the_promised_versions_of_python_are_tested_and_built() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = [name.split(" :: ")[-1] for name in project["project"]["classifiers"]]
    promised = [name for name in names if re.fullmatch(r"3\.\d+", name)]
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    assert jobs["unit"]["strategy"]["matrix"]["python"] == promised
    built = project["tool"]["cibuildwheel"]["build"]
    assert built == " ".join(f"cp{version.replace('.', '')}-*" for version in promised)
    assert project["project"]["requires-python"] == f">={promised[0]}"


def test_wheels_take_no_copy_of_a_library_that_torch_brings() -> None:
    if shutil.which("readelf") is None:
        pytest.skip("needs readelf (binutils)")
    dynamic = subprocess.run(
        ["readelf", "-d", importlib.util.find_spec("pyrobust._C").origin],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic))
    brought = {path.name for path in (Path(torch.__file__).parent / "lib").iterdir()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    words = project["tool"]["cibuildwheel"]["repair-wheel-command"].split()
    excluded = {after for word, after in pairwise(words) if word == "--exclude"}
    assert {"libgomp.so.1", "libc10.so"} <= needed & brought <= excluded


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

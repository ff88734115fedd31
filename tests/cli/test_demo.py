"""`pyrobust demo` runs the workflow from anywhere, and names what it lacks."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from pytest import MonkeyPatch

from pyrobust.cli import demo
from pyrobust.errors import UserError

ROOT = Path(__file__).parents[2]


def test_it_plans_the_digits_in_its_own_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pyrobust", "demo", "--folder", "here", "--cores", "2", "--",
         "--dry-run"],
        cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "here/config/config.yaml").read_text() == (
        ROOT / "config/config.yaml"
    ).read_text()
    planned = done.stdout + done.stderr
    for experiment in ("digits_linf", "digits_linf_gaussian", "digits_linf_no_generated"):
        assert f"results/train/{experiment}/seed3/training.json" in planned, planned[-3000:]


def test_without_snakemake_it_names_the_extra(monkeypatch: MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'pyrobust\[workflow\]'"):
        demo.demo(folder=tmp_path)


def test_a_package_without_workflow_is_named(monkeypatch: MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "__file__", str(tmp_path / "pyrobust/cli/demo.py"))
    with pytest.raises(UserError, match="no workflow in"):
        demo.find_workflow()
    (tmp_path / "pyrobust/deployed").mkdir(parents=True)
    (tmp_path / "pyrobust/deployed/Snakefile").touch()
    assert demo.find_workflow() == tmp_path / "pyrobust/deployed"

"""A dry run of benchmarks/gpu.sh: every step, on the CPU."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(results: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "benchmarks/gpu.sh"], capture_output=True, text=True, check=False, timeout=600,
        env={**os.environ, "PYTHON": sys.executable, "DEVICE": "cpu", "RESULTS": str(results),
             "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip


@pytest.mark.slow
def test_a_dry_run_passes_every_step_and_copies_the_results(tmp_path: Path) -> None:
    done = run(tmp_path / "results", OUT=str(tmp_path / "out"))
    assert done.returncode == 0, done.stdout + done.stderr
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    ran = [
        "core", "operators", "training_step", "other_operators", "resume", "loader", "bandwidth",
        "training", "evaluation",
    ]  # fmt: skip
    assert list(lines)[: len(ran)] == ran
    assert all(re.match(r"passed after \d+ s", lines[name]) for name in ran), done.stdout
    assert {"memcheck", "racecheck", "synccheck"} <= set(lines)
    assert (tmp_path / "out/summary.txt").read_text() == done.stdout
    assert list((tmp_path / "out").glob("training-*.json"))
    assert (tmp_path / "out/evaluation.json").exists()


def test_a_step_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *pytest*|*benchmarks*) echo broken; exit 3;; esac\n'
        f'exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    done = run(tmp_path / "results", PYTHON=str(python))
    assert done.returncode == 1
    assert done.stdout.count("failed with 3 after") >= 6, done.stdout
    assert done.stdout.splitlines()[-1] == "done"
    assert (tmp_path / "results/training.log").read_text() == "broken\n"


def test_no_step_starts_without_time(tmp_path: Path) -> None:
    done = run(tmp_path / "results", SECONDS_IN_ALL="0")
    assert done.returncode == 1
    assert "core: left out, no time" in done.stdout

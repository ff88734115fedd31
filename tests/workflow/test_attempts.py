"""A job's log keeps every attempt, and tells a lack of memory from other ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pyrobust.workflow.attempts import Attempt, kept_log, memory_failures, read_attempts

START = "=== 2026-01-01 00:00:00 started: pyrobust train --dataset 'my data'\n"
SUCCESS = START + "=== 2026-01-01 00:00:01 ended with status 0\n"
REFUSED = START + "pyrobust: no data\n=== 2026-01-01 00:00:01 ended with status 2\n"
INTERRUPTED = START + "=== 2026-01-01 00:00:01 ended with status 75\n"
NO_MEMORY = START + "pyrobust: out of memory (CUDA)\n=== 2026-01-01 00:00:01 ended with status 2\n"
KILLED = START + "step 5\n"


def run(log: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pyrobust", "--log", str(log), *words],
        capture_output=True, text=True, check=False, env={**os.environ, **environment},
    )  # fmt: skip


def test_a_log_that_is_removed_between_attempts_keeps_them(tmp_path: Path) -> None:
    log = tmp_path / "logs/my rule/x.log"
    first = run(log, "info", "nowhere/1")
    assert (first.returncode, first.stdout, first.stderr) == (2, "", "")
    log.unlink()  # as snakemake does
    run(log, "info", "nowhere/2")
    lines = log.read_text().splitlines()
    assert [line for line in lines if "nowhere" in line and "started" not in line] == [
        next(line for line in lines if "nowhere/1" in line and line.startswith("pyrobust: ")),
        next(line for line in lines if "nowhere/2" in line and line.startswith("pyrobust: ")),
    ]
    assert [attempt.status for attempt in read_attempts(log)] == [2, 2]


def test_the_command_is_logged_as_it_can_be_typed(tmp_path: Path) -> None:
    run(tmp_path / "x.log", "info", "no where")
    assert "started: pyrobust info 'no where'" in (tmp_path / "x.log").read_text()


def test_sigterm_ends_a_verb_with_a_status_that_is_retried(tmp_path: Path) -> None:
    # A named pipe without a writer keeps the verb waiting.
    os.mkfifo(tmp_path / "x.inputs.json")
    words = ["report", "x.inputs.json", *["--output", "o", "--cost", "c", "--page", "p"]]
    with subprocess.Popen(
        [sys.executable, "-m", "pyrobust", "--log", "x.log", *words], cwd=tmp_path
    ) as process:
        while (
            not (tmp_path / "x.log").exists() or "started" not in (tmp_path / "x.log").read_text()
        ):
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 75
    assert read_attempts(tmp_path / "x.log") == [Attempt(75, False, None)]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        (SUCCESS, 0),
        (REFUSED + INTERRUPTED, 0),
        (INTERRUPTED * 12, 0),
        (NO_MEMORY, 1),
        (KILLED, 1),
        (KILLED + INTERRUPTED + NO_MEMORY, 2),
        (NO_MEMORY + KILLED + SUCCESS, 0),
        (NO_MEMORY + SUCCESS + KILLED, 1),
    ],
)
def test_memory_is_missing_where_a_log_says_so_or_just_ends(
    tmp_path: Path, text: str, count: int
) -> None:
    kept_log(tmp_path / "x.log").write_text(text)
    assert memory_failures(tmp_path / "x.log") == count


def test_a_job_that_has_not_run_has_not_failed(tmp_path: Path) -> None:
    assert memory_failures(tmp_path / "absent/x.log") == 0


@pytest.mark.parametrize(
    ("state", "count"),
    [("TIMEOUT", 0), ("PREEMPTED", 0), ("NODE_FAIL", 0), ("OUT_OF_MEMORY", 1), ("FAILED", 1)],
)
def test_slurm_says_why_a_killed_job_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, count: int
) -> None:
    tool = tmp_path / "scontrol"
    tool.write_text(f'#!/bin/sh\ntest "$4" = 17 && echo "JobId=17 JobState={state} Reason=x"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    text = KILLED.replace("started:", "started as Slurm job 17:")
    kept_log(tmp_path / "x.log").write_text(text)
    assert memory_failures(tmp_path / "x.log") == count

"""Jobs that a killed snakemake left in the queue of Slurm."""

import os
from pathlib import Path

import pytest

from pyrobust.workflow.runs import jobs_in_queue, refusal


@pytest.fixture
def squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project folder; a stand-in for squeue lists jobs of it and of another one."""
    project = tmp_path / "my project"
    project.mkdir()
    lines = [
        f"12|{project}|rule_train_robust_wildcards_tiny_0",
        f"13|{project}|group_sampling",
        f"14|{tmp_path}|rule_train_robust_wildcards_tiny_0",
        f"15|{project}|(null)",
    ]
    tool = tmp_path / "squeue"
    tool.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(lines) + "\nEND\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return project


def test_jobs_of_this_folder_are_found_and_no_others(squeue: Path) -> None:
    assert jobs_in_queue(squeue) == [("12", "train_robust"), ("13", "sampling")]


def test_the_refusal_says_how_to_cancel_them(squeue: Path) -> None:
    sentence = refusal(jobs_in_queue(squeue))
    assert "12 (train_robust), 13 (sampling)" in sentence
    assert sentence.endswith("scancel 12 13")


def test_without_slurm_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert jobs_in_queue(tmp_path) == []


def test_a_controller_that_does_not_answer_stops_nobody(
    squeue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (squeue.parent / "squeue").write_text("#!/bin/sh\necho 'Unable to contact' >&2\nexit 1\n")
    assert jobs_in_queue(squeue) == []

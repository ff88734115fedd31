"""What goes wrong around a workflow ends in a clear message and loses nothing."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.workflow.running import TINY, Project

pytestmark = pytest.mark.slow

DATASET = "resources/datasets/digits/dataset.json"
GENERATOR = "results/generators/digits/tiny/generator.json"


def start(project: Project, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        ["snakemake", "--cores", "2", *words], cwd=project, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def run(project: Project, *words: str) -> tuple[int, str]:
    process = start(project, *words)
    output = process.communicate(timeout=280)[0]
    return process.returncode, output


def test_a_failed_stage_shows_its_log_and_what_mends_it(project: Project, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("datasets: {flowers: {layout: folder}}")
    target = "resources/datasets/flowers/dataset.json"
    status, output = run(project, target, "--configfile", str(overlay))
    assert status != 0
    assert "logs/make_dataset/flowers.log" in output
    assert "pyrobust: " in output  # the sentence from the log
    assert "resources/raw/flowers" in output
    assert not (project / target).exists()


def test_a_second_workflow_in_one_folder_is_refused_and_the_first_ends_well(
    project: Project,
) -> None:
    first = start(project, GENERATOR, "--configfile", TINY)
    try:
        locks = project / ".snakemake/locks"
        while first.poll() is None and not (locks.is_dir() and any(locks.iterdir())):
            time.sleep(0.1)
        status, output = run(project, GENERATOR, "--configfile", TINY)
        told = first.communicate(timeout=280)[0]
    finally:
        if first.poll() is None:
            os.killpg(first.pid, signal.SIGKILL)
    assert status != 0
    assert "Directory cannot be locked" in output, output[-2000:]
    assert first.returncode == 0, told[-2000:]
    assert (project / GENERATOR).is_file()


def test_a_place_that_cannot_be_written_is_named(project: Project) -> None:
    (project / "resources/datasets").write_text("a file where a folder belongs")
    status, output = run(project, DATASET, "--configfile", TINY)
    assert status != 0
    assert "resources/datasets" in output, output[-2000:]


def test_a_config_changed_after_the_start_makes_anew_what_depends_on_it_and_no_more(
    project: Project, tmp_path: Path
) -> None:
    assert run(project, GENERATOR, "--configfile", TINY)[0] == 0
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("generators: {tiny: {jitter: 2.0e-4}}")
    _, output = run(project, GENERATOR, "--configfile", TINY, str(overlay), "--dry-run")
    assert "fit_generator" in output
    assert "make_dataset" not in output

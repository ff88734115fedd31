"""The tiny experiment through the real Snakefile: result, reproduction, resumption, provenance."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.workflow.running import RECORD, TINY, Project, job_counts, snakemake

pytestmark = pytest.mark.slow


def test_record_cost_and_page_are_there(finished: Project) -> None:
    record = json.loads((finished / RECORD).read_text())
    assert (record["experiment"], record["dataset"]["name"]) == ("tiny", "digits")
    assert (finished / "results/tiny.cost.json").is_file()
    page = (finished / "results/tiny.html").read_text()
    assert f"<code>snakemake --cores all {RECORD} --configfile {TINY}</code>" in page


def test_a_second_call_has_nothing_to_do(finished: Project) -> None:
    run = snakemake(finished, "--dry-run")
    assert "Nothing to be done" in run.stdout, run.stdout


def wait_for(project: Project, pattern: str, workflow: "subprocess.Popen[bytes]") -> None:
    """Wait until a stage has written a file that matches `pattern`."""
    while not list(project.glob(pattern)):
        assert workflow.poll() is None, f"the workflow ended before it wrote {pattern}"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("written", "kill"),
    [
        # The log of a training that has begun.
        pytest.param("results/labellers/digits/tiny/log.jsonl", os.killpg, id="with_its_jobs"),
        pytest.param("results/train/tiny*/seed*/log.jsonl", os.kill, id="while_its_jobs_run"),
    ],
)
def test_a_killed_workflow_resumes_and_gives_the_same_bytes(
    finished: Project,
    project: Project,
    written: str,
    kill: Callable[[int, int], None],
    tmp_path: Path,
) -> None:
    command = ["snakemake", RECORD, "--cores", "2", "--configfile", TINY]
    with subprocess.Popen(
        command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as first:  # fmt: skip
        wait_for(project, written, first)
        kill(first.pid, signal.SIGKILL)
    run = snakemake(project)
    assert run.returncode == 0, run.stdout[-6000:]
    assert (project / RECORD).read_bytes() == (finished / RECORD).read_bytes()
    # Its shares are removed by now, and their number no longer matters.
    assert not list((project / "results").rglob("*.done"))
    (tmp_path / "overlay.yaml").write_text("evaluation_jobs: 3")
    run = snakemake(project, "--dry-run", overlays=(tmp_path / "overlay.yaml",))
    assert "Nothing to be done" in run.stdout, run.stdout


SEARCHED_ANEW = {"search_share", "gather_search_shares", "find_neighbours"}
EVALUATED_ANEW = {"attack_share", "gather_shares", "evaluate_run", "report_experiment"}
# Made in a moment, by snakemake itself.
DESCRIBED = {"total", "all", "describe_experiment", "report_experiment"}
TRAINED_ANEW = {"train_robust", "choose_run", "map_landscape", *EVALUATED_ANEW}
# Settings of other experiments, of speed, and, as an upgrade adds them, at their defaults.
WITHOUT_EFFECT = """
evaluation_jobs: 1
search_jobs: 1
data_root: elsewhere
experiments:
  tiny: {training: {awp_gamma: 0.0, label_smoothing: 0.1}}
  digits_l2: {mixing_factor: 0.9}
labellers: {tiny: {label_smoothing: 0.0}}
selections: {tiny: {skip_samples: 0}}
evaluations: {tiny: {autoattack: false}, other: {seed: 1}}
analyses: {tiny: {approximate: false}}
"""


@pytest.mark.parametrize(
    ("overlay", "rules"),
    [
        ("experiments: {tiny: {mixing_factor: 0.4}}", TRAINED_ANEW),
        ("experiments: {tiny: {training: {trades_beta: 5}}}", TRAINED_ANEW),
        ("analyses: {tiny: {components: 7}}", SEARCHED_ANEW),
        ("evaluations: {tiny: {seed: 1}}", {"evaluate_labeller", *EVALUATED_ANEW}),
        ("{evaluation_jobs: 3, search_jobs: 3}", set()),
        pytest.param(WITHOUT_EFFECT, set(), id="without_effect"),
    ],
)  # fmt: skip
def test_a_changed_setting_remakes_what_depends_on_it(
    finished: Project, tmp_path: Path, overlay: str, rules: set[str]
) -> None:
    (tmp_path / "overlay.yaml").write_text(overlay)
    run = snakemake(finished, "--dry-run", overlays=(tmp_path / "overlay.yaml",))
    assert run.returncode == 0, run.stdout
    planned = set(job_counts(run.stdout)) - DESCRIBED
    assert planned == rules - DESCRIBED, run.stdout


def test_a_copy_without_times_has_nothing_to_do(finished: Project, tmp_path: Path) -> None:
    # As by cp -r: every file is as old as its copy, so that inputs may be newer than outputs.
    copy = shutil.copytree(finished, tmp_path / "copy", copy_function=shutil.copy)
    now = time.time()
    for index, file in enumerate(sorted((copy / "results").rglob("*"), reverse=True)):
        os.utime(file, (now + index, now + index))
    run = snakemake(copy, "--dry-run")
    assert "Nothing to be done" in run.stdout, run.stdout


def test_a_changed_core_reruns_no_stage(finished: Project) -> None:
    (finished / "csrc/module.cpp").touch()
    run = snakemake(finished, "--dry-run")
    assert "Nothing to be done" in run.stdout, run.stdout
    run = snakemake(finished, "--dry-run", "--forcerun", "map_landscape")
    assert set(job_counts(run.stdout)) == {"map_landscape", "report_experiment", "total"}


def test_the_core_is_built_before_what_is_missing(project: Project) -> None:
    (project / "resources/core.built").unlink()
    jobs = job_counts(snakemake(project, "--dry-run").stdout)
    assert jobs["build_core"] == 1
    assert {"make_dataset", "train_robust", "report_experiment"} < set(jobs)

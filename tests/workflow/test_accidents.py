"""What goes wrong around a workflow ends in a clear message and loses nothing."""

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.disks import run_with_disk
from tests.workflow.running import TINY, Project

pytestmark = pytest.mark.slow

DATASET = "resources/datasets/digits/dataset.json"
LABELLER = "results/labellers/digits/tiny/labeller.json"
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
    (project / "resources/raw/flowers").mkdir(parents=True)  # and no image in it
    status, output = run(project, target, "--configfile", str(overlay))
    assert status != 0
    assert "logs/make_dataset/flowers.log" in output
    assert "pyrobust: " in output  # the sentence from the log
    assert "resources/raw/flowers" in output
    assert not (project / target).exists()


def test_a_data_root_that_is_not_there_is_named(project: Project, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("{data_root: 'no where/é', datasets: {flowers: {layout: folder}}}")
    target = "resources/datasets/flowers/dataset.json"
    status, output = run(project, target, "--configfile", str(overlay))
    assert status != 0
    assert "there is no folder no where/é/flowers" in output, output[-3000:]
    assert "1 of 1 steps" not in output and not (project / "logs").exists()
    assert not (project / "no where").exists()


def wait_for_job(project: Project, verb: str, workflow: "subprocess.Popen[str]") -> int:
    """Return the process that runs `verb` for the workflow in `project`."""
    words = b"\0" + verb.encode() + b"\0"
    while workflow.poll() is None:
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended
                is_here = (process / "cwd").resolve() == project.resolve()
                command = (process / "cmdline").read_bytes()
                if is_here and b"\0-m\0pyrobust\0" in command and words in command:
                    return int(process.name)
        time.sleep(0.1)
    raise AssertionError(workflow.communicate()[0][-3000:])


def test_a_killed_job_is_reported_with_its_log_and_the_same_command_resumes(
    project: Project,
) -> None:
    first = start(project, LABELLER, "--configfile", TINY)
    os.kill(wait_for_job(project, "train-labeller", first), signal.SIGKILL)
    output = first.communicate(timeout=280)[0]
    assert first.returncode != 0
    assert "logs/train_labeller/digits/tiny.log" in output, output[-3000:]
    assert "job was killed, usually for lack of memory" in output, output[-3000:]
    status, output = run(project, LABELLER, "--configfile", TINY)
    assert status == 0, output[-3000:]
    assert "rule make_dataset" not in output


def test_a_read_only_folder_is_named(project: Project) -> None:
    read_only = "mount --bind . disk && mount -o remount,ro,bind disk && cd disk"
    (project / "disk").mkdir()
    done = run_with_disk(
        project, "disk", "size=1m", f"{read_only} && snakemake {DATASET} --cores 2 2>&1"
    )
    assert done.returncode not in (0, 99), done.stdout
    assert "Read-only file system" in done.stdout, done.stdout
    assert "Traceback" not in done.stdout, done.stdout


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


def test_a_config_changed_in_mid_run_remakes_what_depends_on_it_and_no_more(
    project: Project, tmp_path: Path
) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("generators: {tiny: {jitter: 1.0e-4}}")
    configuration = ["--configfile", TINY, str(overlay)]
    first = start(project, GENERATOR, *configuration)
    wait_for_job(project, "dataset", first)
    overlay.write_text("generators: {tiny: {jitter: 2.0e-4}}")
    output = first.communicate(timeout=280)[0]
    assert first.returncode == 0, output[-3000:]
    _, output = run(project, GENERATOR, *configuration, "--dry-run")
    assert "fit_generator" in output
    assert "make_dataset" not in output


def test_other_settings_of_sampling_keep_the_weights(project: Project, tmp_path: Path) -> None:
    folder = project / "results/generators/digits/ddpm_tiny"
    overlay = tmp_path / "overlay.yaml"
    written = set()
    for changes in ("sampler: dpm_solver, part_size: 500", "sampler: ddim, part_size: 700"):
        steps = "training_steps: 3, batch_size: 8, sampling_steps: 10"
        overlay.write_text(f"generators: {{ddpm_tiny: {{{steps}, {changes}}}}}")
        target = (folder / "generator.json").relative_to(project).as_posix()
        status, output = run(project, target, "--configfile", TINY, str(overlay))
        assert status == 0, output[-3000:]
        assert "rule fit_generator" in output
        # The same files, not equal ones: training again would give the same bytes.
        files = [(folder / name).stat() for name in ("weights.safetensors", "log.jsonl")]
        written.add(tuple((file.st_ino, file.st_mtime_ns) for file in files))
    assert len(written) == 1
    settings = json.loads((folder / "generator.json").read_text())["settings"]
    assert (settings["part_size"], settings["sampler"]) == (700, "ddim")

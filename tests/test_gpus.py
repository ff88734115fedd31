"""Processes on one machine take different GPUs."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pyrobust import gpus
from pyrobust.gpus import own_gpus, taken


@pytest.fixture(autouse=True)
def nothing_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start without the variable, and put back what was there."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")


def visible() -> str | None:
    return os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.mark.parametrize(
    ("names", "count", "shown"),
    [
        ([], 1, None),  # no GPU
        (["0"], 1, None),  # no choice
        (["0", "1", "2"], 1, "0"),
        (["2", "5"], 1, "2"),  # numbers are those that a scheduler gave
        (["GPU-ab", "GPU-cd"], 2, "GPU-ab,GPU-cd"),
        (["0", "1"], 4, None),  # the verb says itself that there are too few
    ],
)
def test_the_first_free_gpus_are_shown(
    tmp_path: Path, names: list[str], count: int, shown: str | None
) -> None:
    with taken(count, names, tmp_path):
        assert visible() == shown


def test_jobs_side_by_side_get_different_gpus_and_share_when_none_is_left(tmp_path: Path) -> None:
    names = ["0", "1", "2", "3"]
    with taken(1, names, tmp_path):
        assert visible() == "0"
        with taken(2, names, tmp_path):
            assert visible() == "1,2"
        with taken(3, names, tmp_path):
            assert visible() == "1,2,3"
            del os.environ["CUDA_VISIBLE_DEVICES"]
            with taken(1, names, tmp_path):
                assert visible() is None
    with taken(1, names, tmp_path):
        assert visible() == "0"


def test_processes_take_different_mig_instances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus.tempfile, "gettempdir", lambda: str(tmp_path))
    both = "MIG-ab, MIG-cd"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", both)
    with own_gpus(1):
        assert visible() == "MIG-ab"
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", both)
        with own_gpus(1):
            assert visible() == "MIG-cd"


def test_too_few_free_gpus_are_left_to_others(tmp_path: Path) -> None:
    with taken(1, ["0", "1"], tmp_path), taken(2, ["0", "1"], tmp_path):
        assert visible() == "0"  # as it was
        with taken(1, ["0", "1"], tmp_path):
            assert visible() == "1"


def test_a_killed_process_leaves_its_gpu_free(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, time\n"
        "from pyrobust.gpus import taken\n"
        "with taken(1, ['0', '1'], pathlib.Path(sys.argv[1])):\n"
        "    print('taken', flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "taken\n"
        with taken(1, ["0", "1"], tmp_path):
            assert visible() == "1"
        process.send_signal(signal.SIGKILL)
        process.wait()
    with taken(1, ["0", "1"], tmp_path):
        assert visible() == "0"


def test_a_folder_that_cannot_be_written_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with taken(1, ["0", "1"], tmp_path / "file"):
        assert visible() is None


def test_two_jobs_of_slurm_do_not_mistake_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(gpus, "_visible_gpus", lambda: ["0", "1"])
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with own_gpus(1):
        monkeypatch.setenv("SLURM_JOB_ID", "18")
        with own_gpus(1):
            assert visible() == "0"

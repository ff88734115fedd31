"""What the machine refuses ends in one sentence, and the same command goes on when it is mended."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pyrobust.cli import main, sentence_of
from tests.disks import run_with_disk

DATASET = "dataset digits --layout digits --test-size 500 --validation-size 200"
LABELLER = "train-labeller --dataset digits --architecture wrn-10-1 --epochs 0.01 --batch-size 64"


def words(command: str) -> str:
    return f"{sys.executable} -m pyrobust {command}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data set `digits` and the empty folder `disk`."""
    folder = tmp_path_factory.mktemp("accidents")
    subprocess.run(words(f"{DATASET} --output digits").split(), cwd=folder, check=True)
    (folder / "disk").mkdir()
    return folder


def sentence(run: subprocess.CompletedProcess[str]) -> str:
    """Return the one line that the command line says beside its progress."""
    assert "Traceback" not in run.stderr, run.stderr
    (line,) = re.findall("^pyrobust: .*$", run.stderr, re.M)
    return str(line)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "kilobytes", "index"),
    [
        pytest.param(DATASET, 40, "dataset.json", id="dataset"),
        pytest.param(f"{LABELLER} --save-steps 2", 400, "labeller.json", id="state-of-a-training"),
        pytest.param(f"{LABELLER} --save-steps 2", 4, "labeller.json", id="log-of-a-training"),
    ],
)
def test_a_full_disk_is_named_and_the_command_resumes_when_there_is_room(
    folder: Path, command: str, kilobytes: int, index: str
) -> None:
    stage = words(f"{command} --output disk/out")
    run = run_with_disk(
        folder,
        "disk",
        f"size={kilobytes}k",
        f"""
        {stage}; test $? = 2 || exit 98
        test ! -e disk/out/{index} || exit 97
        mount -o remount,size=100m disk
        {stage} 2> /dev/null && cat disk/out/{index}
        """,
    )
    assert run.returncode == 0, (run.returncode, run.stderr)
    assert re.search("No space left on device|the disk is full|B are free", sentence(run)), (
        run.stderr
    )
    assert json.loads(run.stdout)


def test_a_read_only_disk_is_named(folder: Path) -> None:
    command = words(f"{DATASET} --output disk/out")
    run = run_with_disk(folder, "disk", "size=1m,ro", command)
    assert run.returncode == 2, run.stderr
    assert re.search(r"cannot write disk/out.*Read-only file system", sentence(run))


def test_a_limit_on_the_size_of_files_is_reported_like_a_full_disk(folder: Path) -> None:
    shutil.rmtree(folder / "limited", ignore_errors=True)
    run = subprocess.run(
        ["bash", "-c", f"ulimit -f 20; exec {words(f'{DATASET} --output limited')}"],
        cwd=folder, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert run.returncode == 2, run.stderr
    assert re.search(
        r"cannot write limited/train/images-00000\.npy.*files have a limit", sentence(run)
    )
    assert not (folder / "limited/dataset.json").exists()


@pytest.mark.slow
def test_want_of_memory_is_reported_in_one_sentence_and_an_old_result_is_not_trusted(
    folder: Path,
) -> None:
    # The limit is set after the imports, whose libraries take gigabytes of addresses.
    code = f"""
import re, resource, sys
import pyrobust.training.train_labeller
from pyrobust.cli import main, sentence_of
taken = int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1]) << 10
resource.setrlimit(resource.RLIMIT_AS, (taken + (300 << 20),) * 2)
sys.argv = {["pyrobust", *LABELLER.split(), "--batch-size", "60000", "--output", "big"]!r}
main()
"""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=280,
        check=False,
    )  # fmt: skip
    assert run.returncode == 2, run.stderr
    assert "out of memory" in sentence(run)
    assert not (folder / "big/labeller.json").exists()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "a higher mem_mb"),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 2 GiB\nmore"),
            "the GPU is out of memory (CUDA out of memory. Tried to allocate 2 GiB): use one with",
        ),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "memory"),
        (OSError(28, "No space left on device", "a/log.jsonl"), "'a/log.jsonl'; fix that"),
        (OverflowError("int too large to convert to C long"), "is too large (int too large"),
        (RuntimeError("shapes do not fit"), None),
        (FileNotFoundError(2, "No such file"), None),
    ],
)
def test_only_what_the_machine_refuses_is_reported_so(error: Exception, said: str | None) -> None:
    sentence = sentence_of(error)
    assert (sentence is None) == (said is None)
    if sentence is not None and said is not None:
        assert said in sentence and "\n" not in sentence


def test_an_error_of_another_kind_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr("pyrobust.cli.app", fail)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        main()

"""A core that does not fit is one sentence, and work that needs no GPU goes to the CPU."""

import importlib.machinery
import logging
import re
from pathlib import Path

import pytest
import torch

from pyrobust.errors import UserError
from pyrobust.ops import CORE, CoreError, choose_device, device
from pyrobust.ops.core import Core, check_core, find_core, read_core

SUFFIX = importlib.machinery.EXTENSION_SUFFIXES[0]
TORCH = torch.__version__.split("+")[0]


def library(folder: Path, mark: str, suffix: str = SUFFIX) -> Path:
    path = folder / f"_C{suffix}"
    path.write_bytes(b"\x7fELF" + bytes(99) + mark.encode() + bytes(9))
    return path


def test_the_core_states_what_it_was_built_for() -> None:
    assert CORE.torch == TORCH
    assert (CORE.cuda is None) == (CORE.code == ())
    assert all(re.fullmatch(r"(sm|compute)_\d+[a-z]?", code) for code in CORE.code)


@pytest.mark.parametrize(
    ("code", "runs_on", "not_on"),
    [
        ("sm_80", [(8, 0), (8, 6), (8, 9)], [(7, 5), (9, 0)]),
        ("compute_90", [(9, 0), (10, 0), (12, 0)], [(8, 9)]),
        ("sm_90a", [(9, 0)], [(9, 1), (10, 0)]),
        ("compute_90a", [(9, 0)], [(10, 0)]),
        ("sm_100f", [(10, 0), (10, 3)], [(12, 0)]),
        ("sm_120", [(12, 0), (12, 1)], [(10, 0)]),
    ],
)
def test_code_runs_on_the_gpus_that_cuda_promises(
    code: str, runs_on: list[tuple[int, int]], not_on: list[tuple[int, int]]
) -> None:
    core = Core(TORCH, "13.0", ("sm_75", code))
    assert all(core.runs_on(*gpu) for gpu in runs_on)
    assert not any(core.runs_on(*gpu) for gpu in not_on if gpu != (7, 5))
    assert not Core(TORCH, "13.0", (code,)).runs_on(7, 5)


def test_a_core_is_read_without_loading_it(tmp_path: Path) -> None:
    file = library(tmp_path, f"pyrobust core for torch {TORCH}, CUDA 13.0, code sm_75 compute_90;")
    assert read_core(file) == Core(TORCH, "13.0", ("sm_75", "compute_90"))
    assert find_core(tmp_path) == file
    file = library(tmp_path, f"pyrobust core for torch {TORCH}, CUDA None, code none;")
    assert check_core(file) == Core(TORCH, None)


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("nothing", "is older than this version of pyrobust: run 'python setup.py"),
        (
            "pyrobust core for torch 1.0.0, CUDA None, code none;",
            f"was built for torch 1.0.0, but this is torch {TORCH}: run 'python setup.py",
        ),
        (
            f"pyrobust core for torch {TORCH}, CUDA 10.2, code sm_50;",
            f"was built for CUDA 10.2, but torch {TORCH} (uses CUDA|has no CUDA)",
        ),
    ],
)
def test_a_core_that_does_not_fit_is_one_sentence(mark: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(CoreError, match=message) as error:
        check_core(library(tmp_path, mark))
    assert "\n" not in str(error.value)


def test_a_core_for_another_python_and_a_missing_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(CoreError, match=r"is missing in .*: run 'python setup\.py build_ext"):
        find_core(tmp_path)
    library(tmp_path, "", ".cpython-36m-x86_64-linux-gnu.so")
    with pytest.raises(CoreError, match=r"is not for Python 3\..* \(_C.cpython-36m"):
        find_core(tmp_path)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that torch sees an H100."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "NVIDIA H100")
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    device._report.cache_clear()


@pytest.mark.parametrize(
    ("core", "reason"),
    [
        (Core(TORCH, None), "the compiled core has no CUDA half: build it with 'PYROBUST_CUDA=1"),
        (
            Core(TORCH, "13.0", ("sm_75", "sm_80")),
            "no code for NVIDIA H100 (compute capability 9.0; it has sm_75 sm_80): "
            "set TORCH_CUDA_ARCH_LIST=9.0",
        ),
    ],
)
def test_a_gpu_that_the_core_cannot_use_is_reported_once_unless_it_is_asked_for(
    core: Core,
    reason: str,
    gpu: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(device, "CORE", core)
    with caplog.at_level(logging.WARNING):
        assert choose_device("auto") == choose_device() == torch.device("cpu")
    assert len(caplog.messages) == 1
    assert reason in caplog.messages[0]
    assert (
        "--device" not in caplog.messages[0]
    )  # it is on the CPU, and some verbs have no such option
    with pytest.raises(UserError) as error:
        choose_device("cuda")
    assert reason in str(error.value) and str(error.value).endswith(", or use --device cpu")


def test_a_gpu_that_fits_is_taken(gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "CORE", Core(TORCH, "13.0", ("sm_90",)))
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda", 0)
    assert choose_device("cpu") == torch.device("cpu")
    monkeypatch.setenv("LOCAL_RANK", "3")  # exported for another program
    assert choose_device() == torch.device("cuda", 0)
    monkeypatch.setenv("RANK", "7")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert choose_device() == torch.device("cuda", 3)


def test_a_machine_without_a_gpu_says_nothing_unless_one_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert choose_device() == torch.device("cpu")
    assert caplog.messages == []
    with pytest.raises(UserError, match=r"device is 'cuda', but .*: use --device cpu"):
        choose_device("cuda")
    with pytest.raises(UserError, match="device is 'tpu', expected auto, cpu or cuda"):
        choose_device("tpu")


def test_a_driver_that_is_too_old_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).")

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", refuse)
    monkeypatch.setattr(device, "_shows_gpus", lambda: True)
    device._report.cache_clear()
    assert choose_device() == torch.device("cpu")
    assert "driver on your system is too old (found version 11040)" in caplog.text

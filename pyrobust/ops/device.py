"""Decide which device work runs on: a GPU that torch and the compiled core can both use."""

import logging
import os
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import torch

from pyrobust.errors import UserError, reason_of
from pyrobust.ops.core import CORE
from pyrobust.ranks import Place

logger = logging.getLogger(__name__)

DeviceName = Literal["auto", "cpu", "cuda"]


def choose_device(wanted: str = "auto") -> torch.device:
    """Return this process's GPU where it can be used, else the CPU.

    A GPU that cannot be used is reported once, with the reason and what to do.

    Args:
        wanted: one of `DeviceName`; cuda requires a GPU.

    Raises:
        UserError: the device is unknown, or cuda is requested and cannot be used.
    """
    if wanted not in get_args(DeviceName):
        raise UserError(f"device is '{wanted}', expected auto, cpu or cuda")
    if wanted == "cpu":
        return torch.device("cpu")
    place = Place.of_this_process()
    index = place.local_rank if place else 0
    if not torch.cuda.is_available():
        reason = _why_torch_has_no_gpu()
        if wanted == "cuda":
            raise UserError(f"device is 'cuda', but {reason}: use --device cpu")
        if _shows_gpus():
            _report(reason)
        return torch.device("cpu")
    misfit = _why_the_core_does_not_fit(index)
    if misfit is None:
        return torch.device("cuda", index)
    if wanted == "cuda":
        raise UserError(f"device is 'cuda', but {misfit}, or use --device cpu")
    _report(misfit)
    return torch.device("cpu")


def _why_torch_has_no_gpu() -> str:
    if torch.version.cuda is None:
        return f"torch {torch.__version__} was built without CUDA"
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:  # the driver is too old, or there is none
        return f"torch finds no GPU ({reason_of(error).rstrip('.')})"
    return "torch finds no GPU"


def _shows_gpus() -> bool:
    """Return whether the machine has GPUs that are not hidden on purpose."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1", "NoDevFiles")
    return not hidden and any(Path("/dev").glob("nvidia[0-9]*"))


def _why_the_core_does_not_fit(index: int) -> str | None:
    if CORE.cuda is None:
        return (
            "the compiled core has no CUDA half: build it with 'PYROBUST_CUDA=1 python setup.py "
            "build_ext --inplace', or install a wheel with CUDA (docs/install.md)"
        )
    major, minor = torch.cuda.get_device_capability(index)
    if not CORE.runs_on(major, minor):
        return (
            f"the compiled core has no code for {torch.cuda.get_device_name(index)} "
            f"(compute capability {major}.{minor}; it has {' '.join(CORE.code)}): "
            f"set TORCH_CUDA_ARCH_LIST={major}.{minor} and build it again"
        )
    return None


@cache
def _report(reason: str) -> None:
    logger.warning("working on the CPU: %s", reason)

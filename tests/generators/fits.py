"""Fits by hand, and the files of a stage."""

from pathlib import Path

import torch

from pyrobust.config.generators import GeneratorSettings
from pyrobust.data.dataset import Dataset
from pyrobust.generators.base import Fit
from pyrobust.training.data_parallel import Processes
from pyrobust.training.runtime import Runtime

COST = "cost.json"

RUNTIME = Runtime(device="cpu", save_steps=5, trackers=())


def fit_of(dataset: Dataset, settings: GeneratorSettings, folder: Path) -> Fit:
    """Return the fit of one process on the CPU."""
    return Fit(dataset, settings, folder, RUNTIME, Processes(torch.device("cpu")))


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file in a folder except for costs."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != COST)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

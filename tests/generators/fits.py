"""What a generator is fitted with by hand."""

from pathlib import Path

import torch

from pyrobust.config.generators import GeneratorSettings
from pyrobust.data.dataset import Dataset
from pyrobust.generators.base import Fit
from pyrobust.training.data_parallel import Processes
from pyrobust.training.runtime import Runtime

RUNTIME = Runtime(device="cpu", save_steps=5, trackers=())


def fit_of(dataset: Dataset, settings: GeneratorSettings, folder: Path) -> Fit:
    """Return the fit of one process on the CPU."""
    return Fit(dataset, settings, folder, RUNTIME, Processes(torch.device("cpu")))

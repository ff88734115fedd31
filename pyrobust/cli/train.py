"""Verbs of training: `train-labeller`, `train` and `choose`.

The first two hold their folder by `Processes.writing`: of several processes only one does.
"""

from pathlib import Path
from typing import Annotated

import typer

from pyrobust.cli.options import takes_settings
from pyrobust.cli.runtime import Curves, Deterministic, Device, ResidentMb, SaveSeconds, SaveSteps
from pyrobust.cli.stage import writes_folder
from pyrobust.config.training import LabellerSettings, TrainSettings

DatasetFolder = Annotated[Path, typer.Option(help="Folder that 'pyrobust dataset' wrote.")]
Output = Annotated[Path, typer.Option(help="Folder to write.")]


CudaGraph = Annotated[
    bool, typer.Option(help="Launch the inner attack as one CUDA graph; the same bits.")
]


@takes_settings(LabellerSettings)
def train_labeller(
    dataset: DatasetFolder,
    output: Output,
    settings: LabellerSettings,
    device: Device = "auto",
    resident_mb: ResidentMb = 4096,
    save_steps: SaveSteps = 1000,
    save_seconds: SaveSeconds = 120.0,
    deterministic: Deterministic = False,
    curves: Curves = True,
) -> None:
    """Train the non-robust classifier that labels generated images."""
    from pyrobust.training.runtime import Runtime
    from pyrobust.training.standard import train_labeller as train

    runtime = Runtime(device, resident_mb, save_steps, save_seconds, deterministic, curves)
    train(dataset, output, settings, runtime)


@takes_settings(TrainSettings)
def train(
    dataset: DatasetFolder,
    output: Output,
    settings: TrainSettings,
    samples: Annotated[
        Path | None, typer.Option(help="Store of labelled generated images.")
    ] = None,
    device: Device = "auto",
    resident_mb: ResidentMb = 4096,
    save_steps: SaveSteps = 1000,
    save_seconds: SaveSeconds = 120.0,
    deterministic: Deterministic = False,
    curves: Curves = True,
    cuda_graph: CudaGraph = False,
) -> None:
    """Train a robust classifier by TRADES on original and generated images."""
    from pyrobust.training.robust import train_robust
    from pyrobust.training.runtime import Runtime

    runtime = Runtime(
        device, resident_mb, save_steps, save_seconds, deterministic, curves, cuda_graph
    )
    train_robust(dataset, samples, output, settings, runtime)


@writes_folder
def choose(
    runs: Annotated[list[Path], typer.Option(help="Folder of a run; give it for each run.")],
    output: Output,
) -> None:
    """Keep the run that is most robust on the validation split."""
    from pyrobust.training.choose import choose_run

    choose_run(runs, output)

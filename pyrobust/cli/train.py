"""Verbs for training: `train-labeller`, `train` and `choose`.

Of several processes, only the first locks the output folder (`joined_processes`), so `train` and
`train-labeller` do not use `writes_folder`.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyrobust.cli.holding import takes_runtime, writes_folder
from pyrobust.cli.options import stage_folder, takes_settings
from pyrobust.cli.subjects import DatasetFolder
from pyrobust.config.training import LabellerSettings, TrainSettings

if TYPE_CHECKING:
    from pyrobust.training.runtime import Runtime

CudaGraph = Annotated[
    bool, typer.Option(help="Launch the inner attack as one CUDA graph; results are identical.")
]


@takes_settings(LabellerSettings)
@takes_runtime
def train_labeller(
    dataset: DatasetFolder,
    output: Annotated[Path, stage_folder("Folder to write.", "labeller.json")],
    settings: LabellerSettings,
    runtime: "Runtime",
) -> None:
    """Train the non-robust classifier that labels samples."""
    from pyrobust.training.train_labeller import train_labeller as train

    train(dataset, output, settings, runtime)


@takes_settings(TrainSettings)
@takes_runtime
def train(
    dataset: DatasetFolder,
    output: Annotated[Path, stage_folder("Folder to write.", "training.json")],
    settings: TrainSettings,
    runtime: "Runtime",
    samples: Annotated[
        Path | None,
        stage_folder(
            "Labelled generated images: a store of 'pyrobust select' or 'sample'.", "manifest.json"
        ),
    ] = None,
    cuda_graph: CudaGraph = False,
) -> None:
    """Train a robust classifier, optionally on generated images."""
    from pyrobust.training.train_robust import train_robust

    runtime = replace(runtime, cuda_graph=cuda_graph)
    train_robust(dataset, samples, output, settings, runtime)


@writes_folder
def choose(
    runs: Annotated[
        list[Path],
        stage_folder("Folder of a run (repeat the option for each run)", "training.json"),
    ],
    output: Annotated[Path, stage_folder("Folder to write.", "choice.json")],
) -> None:
    """Choose the run that is most robust on validation images."""
    from pyrobust.training.choose import choose_run

    choose_run(runs, output)

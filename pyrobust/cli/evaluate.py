"""Verbs that attack a trained model: `evaluate` and `landscape`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from pyrobust.cli.options import takes_settings
from pyrobust.cli.stage import writes_folder
from pyrobust.config import parse_settings
from pyrobust.config.evaluation import EvaluationSettings, LandscapeSettings, ThreatSettings

Model = Annotated[
    Path, typer.Option(help="Weights that 'pyrobust train' or 'pyrobust convert' wrote.")
]
DatasetFolder = Annotated[Path, typer.Option(help="Folder that 'pyrobust dataset' wrote.")]
NormOption = Annotated[str, typer.Option(help="Norm of the perturbation set: linf or l2.")]
EpsilonOption = Annotated[str, typer.Option(help="Its radius for pixels in [0, 1]: 8/255.")]
Output = Annotated[Path, typer.Option(help="Folder to write.")]


@takes_settings(EvaluationSettings)
@writes_folder
def evaluate(
    model: Model,
    dataset: DatasetFolder,
    norm: NormOption,
    epsilon: EpsilonOption,
    output: Output,
    settings: EvaluationSettings,
    split: Annotated[
        Literal["train", "validation", "test"], typer.Option(help="Images that are attacked.")
    ] = "test",
    keep_adversarial: Annotated[
        bool, typer.Option("--keep-adversarial", help="Also write the worst point of each image.")
    ] = False,
) -> None:
    """Attack a model by AA+MT: its clean and robust accuracy, stage by stage."""
    threat = parse_settings(ThreatSettings, {"norm": norm, "epsilon": epsilon})

    from pyrobust.evaluation import evaluate as evaluation
    from pyrobust.evaluation.subject import Subject

    subject = Subject.open(model, dataset, split, threat, _device())
    evaluation.evaluate(subject, output, settings, keep_adversarial)


@takes_settings(LandscapeSettings)
@writes_folder
def landscape(
    model: Model,
    dataset: DatasetFolder,
    norm: NormOption,
    epsilon: EpsilonOption,
    output: Output,
    settings: LandscapeSettings,
) -> None:
    """Map the margin around test images, along an attack and along a random direction."""
    threat = parse_settings(ThreatSettings, {"norm": norm, "epsilon": epsilon})

    from pyrobust.evaluation import landscape as landscapes
    from pyrobust.evaluation.subject import Subject

    subject = Subject.open(model, dataset, "test", threat, _device())
    landscapes.write_landscape(subject, output, settings)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"

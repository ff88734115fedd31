"""The verb that attacks a model under several threats: `threats`."""

from pathlib import Path
from typing import Annotated

import typer

from pyrobust.cli.holding import uses_gpu, writes_folder
from pyrobust.cli.options import Numbers, stage_folder, takes_settings
from pyrobust.cli.subjects import (
    Images,
    Model,
    OptionalDataset,
    Split,
    Weights,
    model_source,
    open_subject,
    opened_images,
)
from pyrobust.config.evaluation import ThreatSettings
from pyrobust.config.threats import ThreatsSettings


@takes_settings(ThreatsSettings)
@writes_folder
@uses_gpu
def threats(
    model: Model,
    output: Annotated[Path, stage_folder("Folder to write.", "threats.json")],
    settings: ThreatsSettings,
    dataset: OptionalDataset = None,
    images: Images = None,
    split: Annotated[Split, typer.Option(help="Images that are attacked.")] = "test",
    weights: Weights = None,
    mean: Numbers = None,
    std: Numbers = None,
) -> None:
    """Attack a model under several threats.

    Print the accuracy under each and under all of them together.
    """
    from pyrobust.evaluation.describe_threats import describe_threats
    from pyrobust.evaluation.threats import STATE, evaluate_threats
    from pyrobust.files import write_text
    from pyrobust.reporting.threats_page import threats_page

    threat = ThreatSettings(norm="linf", epsilon=settings.linf)
    with opened_images(dataset, images, split, None, output / STATE / "images") as found:
        subject = open_subject(model_source(model, weights, mean, std), found, threat)
        result = evaluate_threats(subject, output, settings)
    write_text(output / "threats.html", threats_page(result))
    for line in describe_threats(result):
        print(line)

"""Verbs on generated images: `fit-generator`, `sample`, `label` and `select`."""

from pathlib import Path
from typing import Annotated

import typer

from pyrobust.cli.options import takes_settings
from pyrobust.cli.stage import writes_folder
from pyrobust.config.data import GeneratorSettings, SelectionSettings

Output = Annotated[Path, typer.Option(help="Folder to write.")]
GeneratorFolder = Annotated[Path, typer.Option(help="Folder of the generator.")]
LabellerFolder = Annotated[Path, typer.Option(help="Folder of the labeller.")]


@takes_settings(GeneratorSettings)
@writes_folder
def fit_generator(
    dataset: Annotated[Path, typer.Option(help="Folder of the data set.")],
    output: Output,
    settings: GeneratorSettings,
) -> None:
    """Fit a generative model on the training images."""
    from pyrobust.generators import fitting

    fitting.fit_generator(dataset, output, settings)


@writes_folder
def sample(
    generator: GeneratorFolder,
    part: Annotated[int, typer.Option(min=0, help="Number of the part, from 0 on.")],
    part_size: Annotated[int, typer.Option(min=1, help="Images of each part.")],
    output: Output,
    count: Annotated[
        int | None, typer.Option(min=1, help="Images of all parts; it cuts the last one short.")
    ] = None,
) -> None:
    """Draw one part of the generated images."""
    from pyrobust.generators.sampling import sample_part

    sample_part(generator, part, part_size, output, count)


@writes_folder
def label(
    samples: Annotated[Path, typer.Option(help="Folder of a part of the samples.")],
    labeller: LabellerFolder,
    output: Output,
) -> None:
    """Give each generated image the labeller's class and confidence."""
    from pyrobust.generators.labelling import label_part

    label_part(samples, labeller, output, _device())


@takes_settings(SelectionSettings)
@writes_folder
def select(
    generator: GeneratorFolder,
    labeller: LabellerFolder,
    parts: Annotated[Path, typer.Option(help="Folder of the numbered parts.")],
    labels: Annotated[Path, typer.Option(help="Folder of their numbered labels.")],
    num_parts: Annotated[int, typer.Option(min=0, help="Parts to choose from.")],
    num_samples: Annotated[int, typer.Option(min=1, help="Images to keep.")],
    output: Output,
    settings: SelectionSettings,
) -> None:
    """Keep a class-balanced, shuffled set of the labelled images."""
    from pyrobust.generators.selecting import select_parts

    select_parts(
        generator, labeller, parts, labels, num_parts, num_samples, output, settings, _device()
    )


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"

"""Verb `convert`: published checkpoints to this project's format, and back."""

from pathlib import Path
from typing import Annotated

import typer


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN", help="A .pt or .safetensors file, or the name of a published model."
        ),
    ],
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help="A .safetensors or .pt file to write.")
    ],
    dataset: Annotated[
        str | None,
        typer.Option(help="Data set whose published normalisation the model uses."),
    ] = None,
    activation: Annotated[str, typer.Option(help="silu or relu.")] = "silu",
    image_size: Annotated[int, typer.Option(help="Height and width of the images.")] = 32,
    downloads: Annotated[Path, typer.Option(help="Folder for downloaded checkpoints.")] = Path(
        "resources/checkpoints"
    ),
) -> None:
    """Convert a checkpoint: published .pt to .safetensors, or .safetensors to .pt."""
    from pyrobust.models.convert import convert_checkpoint

    convert_checkpoint(source, target, dataset, activation, image_size, downloads)

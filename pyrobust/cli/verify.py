"""Verb `verify`: whether the points of an evaluation show what it claims."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from pyrobust.cli.holding import uses_gpu
from pyrobust.cli.options import Numbers
from pyrobust.cli.subjects import (
    Images,
    Model,
    OptionalDataset,
    Samples,
    Split,
    Weights,
    model_source,
    open_subject,
    opened_images,
)
from pyrobust.config import parse_settings
from pyrobust.config.evaluation import ThreatSettings
from pyrobust.errors import UserError


@uses_gpu
def verify(
    file: Annotated[
        Path,
        typer.Argument(
            help="A transcript of 'pyrobust evaluate --transcript', or adversarial images "
            "from other tools: a .npy array, or a .pt tensor as AutoAttack saves it."
        ),
    ],
    model: Model,
    dataset: OptionalDataset = None,
    images: Images = None,
    split: Annotated[Split, typer.Option(help="Images that the points belong to.")] = "test",
    samples: Samples = None,
    norm: Annotated[
        str | None, typer.Option(help="linf, l2 or l1; required for images from other tools.")
    ] = None,
    epsilon: Annotated[
        str | None,
        typer.Option(
            help="Radius for pixels in [0, 1]: 8/255; required for images from other tools."
        ),
    ] = None,
    claimed: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Robust accuracy claimed for images from other tools: 0.5612.",
        ),
    ] = None,
    weights: Weights = None,
    mean: Numbers = None,
    std: Numbers = None,
) -> None:
    """Verify the claim of a transcript or of images.

    Exit with status 1 if the claim does not hold.
    """
    threat = _threat(norm, epsilon)

    from pyrobust.evaluation.transcripts.files import verify_file
    from pyrobust.evaluation.transcripts.transcript import TranscriptError

    source = model_source(model, weights, mean, std)
    with (
        tempfile.TemporaryDirectory() as folder,
        opened_images(dataset, images, split, samples, Path(folder) / "images") as found,
    ):
        try:
            result = verify_file(
                file, lambda wanted: open_subject(source, found, wanted), threat, claimed
            )
        except TranscriptError as error:
            print(f"the claim does not hold: {error}")
            raise typer.Exit(1) from error
    for line in result.lines():
        print(line)
    if not result.holds:
        raise typer.Exit(1)


def _threat(norm: str | None, epsilon: str | None) -> ThreatSettings | None:
    """Return the perturbation set that the user states; None where they state none."""
    if norm is None and epsilon is None:
        return None
    if norm is None or epsilon is None:
        raise UserError(
            "a perturbation set has a norm and a radius: give both --norm and --epsilon"
        )
    return parse_settings(ThreatSettings, {"norm": norm, "epsilon": epsilon})

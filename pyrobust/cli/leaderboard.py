"""Verb `robustbench`: what a submission to RobustBench consists of."""

from pathlib import Path
from typing import Annotated

import typer

from pyrobust.cli.options import folder_of


def robustbench(
    evaluation: Annotated[
        Path,
        typer.Argument(
            help="Folder that 'pyrobust evaluate' wrote, or its evaluation.json.",
            parser=lambda text: folder_of(text, ("evaluation.json",)),
            metavar="PATH",
        ),
    ],
    title: Annotated[str, typer.Option(help="Title of the paper.")],
    authors: Annotated[str, typer.Option(help="Authors, separated by commas.")],
    link: Annotated[str, typer.Option(help="Link to the paper.")],
    architecture: Annotated[str, typer.Option(help="Name on the leaderboard: WideResNet-28-10.")],
    output: Annotated[
        Path, typer.Option(help="File to write: <Name><Year><FirstWordOfTheTitle>.json.")
    ],
    venue: Annotated[str, typer.Option(help="Conference and year.")] = "Unpublished",
    additional_data: Annotated[
        bool, typer.Option("--additional-data", help="Training used more real images.")
    ] = False,
    reported: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Robust accuracy stated in the paper, as a fraction."),
    ] = None,
    footnote: Annotated[str, typer.Option(help="Footnote, such as the generated images.")] = "",
) -> None:
    """Write the entry for RobustBench, from an evaluation with AutoAttack."""
    from pyrobust.evaluation.leaderboard import Publication, write_entry

    publication = Publication(
        title, authors, link, venue, architecture, additional_data, reported, footnote
    )
    write_entry(evaluation, publication, output)

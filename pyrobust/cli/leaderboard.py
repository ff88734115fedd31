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
    title: Annotated[str, typer.Option(help="Of the paper.")],
    authors: Annotated[str, typer.Option(help="With commas between them.")],
    link: Annotated[str, typer.Option(help="Where the paper is.")],
    architecture: Annotated[str, typer.Option(help="As the board prints it: WideResNet-28-10.")],
    output: Annotated[
        Path, typer.Option(help="File to write: <Name><Year><FirstWordOfTheTitle>.json.")
    ],
    venue: Annotated[str, typer.Option(help="Conference and year.")] = "Unpublished",
    additional_data: Annotated[
        bool, typer.Option("--additional-data", help="Real images from elsewhere were used.")
    ] = False,
    reported: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Robust accuracy that the paper states, as a fraction."),
    ] = None,
    footnote: Annotated[str, typer.Option(help="Generated images that were used, and more.")] = "",
) -> None:
    """Write the entry that RobustBench asks for, from an evaluation with AutoAttack."""
    from pyrobust.evaluation.leaderboard import Publication, write_entry

    publication = Publication(
        title, authors, link, venue, architecture, additional_data, reported, footnote
    )
    write_entry(evaluation, publication, output)

"""Verb `robustbench`: what a submission to RobustBench consists of."""

from pathlib import Path
from typing import Annotated

import typer

from pyrobust.cli.options import folder_of
from pyrobust.files import exclusive


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
    name: Annotated[
        str, typer.Option(help="Name of the model: <Name><Year><FirstWordOfTheTitle>.")
    ],
    model: Annotated[
        Path,
        typer.Option(
            help="Classifier that was evaluated: folder of a training, .safetensors or .pt."
        ),
    ],
    transcript: Annotated[
        Path, typer.Option(help="Transcript that 'pyrobust evaluate --transcript' wrote.")
    ],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
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
    """Write the folder of a RobustBench submission.

    It contains the entry, weights, transcript, a loader test and the text of the issue.
    """
    from pyrobust.evaluation.leaderboard import Publication
    from pyrobust.evaluation.model_sources import model_file
    from pyrobust.evaluation.submission import LOADER_TEST, Submission, write_submission

    publication = Publication(
        title, authors, link, venue, architecture, additional_data, reported, footnote
    )
    weights = Path(model_file(str(model)))
    submission = Submission(name, publication, evaluation, transcript, weights)
    with exclusive(output):
        loaded = write_submission(submission, output)
    if loaded:
        print(f"{output}: RobustBench loads the weights, and the logits agree")
    else:
        print(f"{output}: pip install --no-deps robustbench, and run {output / LOADER_TEST}")

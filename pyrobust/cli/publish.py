"""Verb `publish`: a model and its evaluation as a folder for the Hugging Face Hub."""

from pathlib import Path
from typing import Annotated

import typer

from pyrobust.files import exclusive


def publish(
    model: Annotated[
        Path, typer.Option(help="Folder of a 'pyrobust train', or its .safetensors file.")
    ],
    evaluation: Annotated[
        Path, typer.Option(help="Folder that 'pyrobust evaluate' wrote for this model.")
    ],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    name: Annotated[str, typer.Option(help="Title of the model card.")],
    license_name: Annotated[
        str | None,
        typer.Option("--license", help="Licence as the Hub spells it, such as apache-2.0."),
    ] = None,
    training: Annotated[
        Path | None,
        typer.Option(
            help="training.json of 'pyrobust train'; adds the training settings to the card."
        ),
    ] = None,
    push: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/REPOSITORY", help="Also upload the folder to this Hub repository."
        ),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Create the repository as private.")
    ] = False,
) -> None:
    """Write a folder for the Hugging Face Hub.

    It contains weights, configuration and a model card; `--model hf:FOLDER` loads it.
    """
    from pyrobust.evaluation.model_sources import model_file
    from pyrobust.reporting.model_card import push_model_folder, write_model_folder

    with exclusive(output):
        write_model_folder(
            Path(model_file(str(model))),
            evaluation,
            output,
            name=name,
            license_name=license_name,
            training=training,
        )
    print(f"{output}: evaluate it by --model hf:{output}")
    if push is not None:
        print(push_model_folder(output, push, private))

"""`pyrobust compare`: one page about many experiments."""

from pathlib import Path
from typing import Annotated

import typer


def compare(
    record: Annotated[
        list[Path], typer.Argument(help="Records of `pyrobust report`, results/<experiment>.json.")
    ],
    output: Annotated[Path, typer.Option(help="Page to write, as HTML.")],
) -> None:
    """Write one page that compares experiments, by data set and perturbation set."""
    from pyrobust.reporting.overview import write_overview

    write_overview(record, output)

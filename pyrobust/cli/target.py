"""`pyrobust target`: a table or figure over many experiments."""

import json
from pathlib import Path
from typing import Annotated

import typer

from pyrobust.config import parse_settings
from pyrobust.config.targets import TargetSettings
from pyrobust.errors import UserError


def target(
    name: Annotated[str, typer.Argument(help="Key of the target in config/targets.yaml.")],
    settings: Annotated[str, typer.Option(help="Settings of the target as JSON.")],
    points: Annotated[
        Path,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="JSON file of points: the rows of the sweep, each with its experiment and files.",
        ),
    ],
    table: Annotated[Path, typer.Option(help="Table to write, as CSV.")],
    picture: Annotated[Path, typer.Option(help="Figure to write, as PNG.")],
    figure: Annotated[Path, typer.Option(help="Figure to write, as SVG.")],
) -> None:
    """Write a table or figure over many experiments, the paper's numbers beside ours."""
    try:
        values = json.loads(settings)
    except json.JSONDecodeError as error:
        raise UserError(f"the settings of target '{name}' are not JSON: {error}") from error
    parsed = parse_settings(TargetSettings, values)

    from pyrobust.reporting.paper_figures.make import Outputs, write_target
    from pyrobust.reporting.paper_figures.points import parse_points

    listed = parse_points(points.read_text(encoding="utf-8"))
    write_target(name, parsed, listed, Outputs(table, picture, figure))

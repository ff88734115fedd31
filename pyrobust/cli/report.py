"""Verbs that write reports, tables and figures: `report`, `compare` and `target`."""

from pathlib import Path
from typing import Annotated

import typer

from pyrobust.config import parse_settings
from pyrobust.config.report import ReportInputs, TargetInputs
from pyrobust.files import read_json

ReportFile = Annotated[
    Path,
    typer.Argument(
        metavar="INPUTS",
        help="JSON file of an experiment and the index files of its stages: the workflow writes "
        "results/<experiment>.inputs.json.",
    ),
]
TargetFile = Annotated[
    Path,
    typer.Argument(
        metavar="INPUTS",
        help="JSON file of a target and its points: the workflow writes "
        "results/paper/<target>.inputs.json.",
    ),
]


def report(
    inputs: ReportFile,
    output: Annotated[Path, typer.Option(help="Record to write, as JSON.")],
    cost: Annotated[Path, typer.Option(help="Cost to write, as JSON.")],
    page: Annotated[Path, typer.Option(help="Page to write, as HTML.")],
    snakemake_options: Annotated[
        str,
        typer.Option(
            envvar="PYROBUST_SNAKEMAKE_OPTIONS",
            help="Options that the command shown on the page needs, such as --configfile.",
        ),
    ] = "",
) -> None:
    """Write the record of an experiment, its cost, and its page."""
    given = parse_settings(ReportInputs, read_json(inputs, f"snakemake {output}"))

    from pyrobust.cost import commit_of
    from pyrobust.reporting.page import Origin
    from pyrobust.reporting.report import Outputs, write_report

    command = f"snakemake --cores all {output} {snakemake_options}".rstrip()
    origin = Origin(command, commit_of(Path(__file__).parents[1]))
    write_report(given, Outputs(record=output, cost=cost, page=page), origin)


def compare(
    record: Annotated[
        list[Path], typer.Argument(help="Records of 'pyrobust report', results/<experiment>.json.")
    ],
    output: Annotated[Path, typer.Option(help="Page to write, as HTML.")],
) -> None:
    """Write one page that compares experiments."""
    from pyrobust.reporting.overview import write_overview

    write_overview(record, output)


def target(
    inputs: TargetFile,
    table: Annotated[Path, typer.Option(help="Table to write, as CSV.")],
    picture: Annotated[Path, typer.Option(help="Figure to write, as PNG.")],
    figure: Annotated[Path, typer.Option(help="Figure to write, as SVG.")],
) -> None:
    """Write a table or figure from many experiments.

    The paper's numbers are next to ours.
    """
    given = parse_settings(TargetInputs, read_json(inputs, f"snakemake {table}"))

    from pyrobust.reporting.paper_figures.make import Outputs, write_target
    from pyrobust.reporting.paper_figures.points import parse_points

    points = parse_points(given.points)
    write_target(given.name, given.settings, points, Outputs(table, picture, figure))

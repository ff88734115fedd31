"""From the points of a target to its table, its picture and its figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import matplotlib as mpl
from matplotlib.figure import Figure

from pyrobust.config.targets import TargetSettings
from pyrobust.files import atomic_path, write_text
from pyrobust.reporting.accuracies import Cascade
from pyrobust.reporting.downloads import as_csv
from pyrobust.reporting.figure_style import LIGHT, STYLE, drawing
from pyrobust.reporting.paper_figures import (
    bar_charts,
    image_figures,
    line_charts,
    overfitting_curves,
)
from pyrobust.reporting.paper_figures.gains import gains
from pyrobust.reporting.paper_figures.paper_values import (
    published,
    stages_of,
    unlike_measures,
)
from pyrobust.reporting.paper_figures.points import Point, Row, accuracies, describe, neighbours

_DPI = 200
_PANEL = 2.3
_CHARACTERS = 13.5  # of a title that fit into an inch


@dataclass(frozen=True)
class Outputs:
    """The three files of a target."""

    table: Path
    picture: Path
    figure: Path


def write_target(
    name: str, settings: TargetSettings, points: Sequence[Point], outputs: Outputs
) -> None:
    """Write CSV, PNG and SVG; equal inputs give equal files.

    Raises:
        UserError: a file of a stage is missing or does not belong to its point.
    """
    match settings.show:
        case "overfitting":
            rows = [row for point in points for row in overfitting_curves.rows_of(point)]
        case "landscapes":
            rows = [row for point in points for row in image_figures.landscape_rows(point)]
        case "samples":
            rows = [row for point in points for row in image_figures.sample_rows(point)]
        case _:
            rows = [_row(settings, point) for point in points]
            if any("num_runs" in row for row in rows):
                rows = [row | gain for row, gain in zip(rows, gains(points, rows), strict=True)]
            if settings.show == "curves":
                rows = line_charts.with_choice(settings, points, rows)
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = _draw(settings, points, rows)
        for path, options in (
            (outputs.picture, {"dpi": _DPI, "metadata": {"Software": None}}),
            (outputs.figure, {"metadata": {"Date": None}}),
        ):
            with atomic_path(path) as temporary:
                figure.savefig(temporary, facecolor=LIGHT["page"], **options)
    if settings.show == "curves":
        rows += line_charts.paper_rows(settings, points, rows)
    write_text(outputs.table, as_csv(rows))


def _row(settings: TargetSettings, point: Point) -> Row:
    """Return one line of the table: the point, our numbers, the paper's."""
    row = describe(point)
    stages: dict[str, float] = {}
    if "neighbours" in point.files:  # not without generated images
        row |= neighbours(point)
    if "evaluation" in point.files:
        row |= accuracies(point)
        stages = row.pop("stages")
    x = None
    if settings.show == "curves":
        x = line_charts.x_of(settings, point, row)
        shown = (settings.x, *settings.series)
        row |= {key: point.value(key) for key in shown if key not in row}
    cascade: Cascade = "worst" if any("autoattack" in stage for stage in stages) else "aa_mt"
    found = published(settings.paper, point, x, cascade)
    if settings.show == "stages":
        row |= {f"after_{key}": value for key, value in stages.items()}
        row |= {f"paper_after_{key}": v for key, v in stages_of(settings.paper, point).items()}
    if found is not None:
        row |= {f"paper_{key}": value for key, value in found.values.items()}
        row["paper_source"] = found.source
        differs = [found.differs, *unlike_measures(settings.paper, row)]
        row["paper_differs"] = "; ".join(filter(None, differs))
    return row


def _draw(settings: TargetSettings, points: Sequence[Point], rows: Sequence[Row]) -> Figure:
    match settings.show:
        case "curves":
            with drawing(*line_charts.SIZE) as (figure, (axes,)):
                line_charts.draw_curves(figure, axes, settings, points, rows)
        case "accuracies":
            with drawing(6, bar_charts.height_of(rows)) as (figure, (axes,)):
                bar_charts.draw_accuracies(figure, axes, rows)
        case "stages":
            with drawing(9, bar_charts.height_of(rows) + 0.3) as (figure, (axes,)):
                bar_charts.draw_stages(figure, axes, rows)
        case "neighbours":
            with drawing(9.4, bar_charts.height_of(rows) + 0.15, (3, 3, 2.6)) as (figure, panels):
                bar_charts.draw_neighbours(figure, panels, rows)
        case "overfitting":
            width = overfitting_curves.WIDTH * len(points)
            with drawing(width, 3, [1] * len(points)) as (figure, panels):
                overfitting_curves.draw(figure, panels, points)
        case "landscapes":
            figure = Figure(figsize=(7, 3.2 * len(points)), layout="constrained")
            image_figures.draw_landscapes(figure, points)
        case "samples":
            width = _PANEL * len(points)
            with drawing(width, _PANEL + 0.3, [1] * len(points)) as (figure, panels):
                image_figures.draw_samples(figure, panels, points)
    title = fill(settings.title, round(_CHARACTERS * figure.get_figwidth()))
    figure.suptitle(title, fontsize=9.5, x=0.01, ha="left")
    return figure

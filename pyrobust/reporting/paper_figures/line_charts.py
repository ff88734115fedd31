"""Curves of an accuracy over a setting, a line for each series."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from pyrobust.config.sweeps import as_number
from pyrobust.config.targets import TargetSettings
from pyrobust.reporting.figure_style import LIGHT, percent_axis
from pyrobust.reporting.paper_figures.bar_charts import name_hollow_marks
from pyrobust.reporting.paper_figures.gains import best_by_validation, interval_words, shown
from pyrobust.reporting.paper_figures.paper_values import Statement, remark_on, statements_about
from pyrobust.reporting.paper_figures.points import Point, Row
from pyrobust.reporting.wording import architecture_name

SIZE = (5.6, 4.0)
_REMARK_WIDTH = 85  # characters

_STYLES = (
    (LIGHT["robust"], "o"),
    (LIGHT["attacked"], "D"),
    (LIGHT["clean"], "s"),
    (LIGHT["generated"], "^"),
    (LIGHT["muted"], "v"),
    (LIGHT["ink"], "X"),
)
_AXIS_NAMES = {
    "mixing_factor": "share of original images",
    "mixture_share": "share of samples of the true distribution",
    "mixture_classes": "classes seen of the true distribution",
    "labeller_accuracy": "accuracy of the labeller",
    "num_samples": "generated samples",
    "robust_accuracy": "robust accuracy",
    "clean_accuracy": "clean accuracy",
}
_SHARES = ("mixing_factor", "mixture_share", "labeller_accuracy")


_RING: dict[str, Any] = {"markersize": 11, "markerfacecolor": "none", "ls": ""}


@dataclass
class Line:
    """One series: its points and rows in the order of x."""

    name: str
    points: list[Point] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def x(self, settings: TargetSettings) -> list[float]:
        """Return where its points lie on the x axis."""
        return [x_of(settings, *pair) for pair in zip(self.points, self.rows, strict=True)]


def x_of(settings: TargetSettings, point: Point, row: Row) -> float:
    """Return where a point lies on the x axis."""
    if settings.x == "labeller_accuracy":
        return float(row["labeller_accuracy"])
    return as_number(point.value(settings.x))


def draw_curves(
    figure: Figure,
    axes: Axes,
    settings: TargetSettings,
    points: Sequence[Point],
    rows: Sequence[Row],
) -> None:
    """Draw our accuracies with their intervals, and what the paper states: hollow marks where it
    says at which x, else a dotted line.

    Args:
        rows: one for each point.
    """
    hollow = False
    for number, line in enumerate(_lines(settings, points, rows)):
        colour, marker = _STYLES[number % len(_STYLES)]
        x, measure = line.x(settings), settings.y.removesuffix("_accuracy")
        y, low, high = zip(*(shown(row, measure) for row in line.rows), strict=True)
        axes.vlines(x, low, high, colors=colour, lw=1.2, alpha=0.6)
        axes.plot(x, y, f"{marker}-", color=colour, markersize=4.5, label=line.name)
        for place, row in zip(x, line.rows, strict=True):
            if row["num_runs"] > 1:
                runs = row[f"{measure}_runs"]
                axes.plot([place] * len(runs), runs, ".", color=colour, markersize=2.5, alpha=0.5)
        if settings.x == "mixing_factor":
            _mark_choice(axes, x, y, line, colour)
        _draw_paper(axes, settings, line, colour, marker)
        hollow = hollow or any(stated.x is not None for stated in _statements(settings, line))
    if hollow:
        name_hollow_marks(axes)
    if settings.logarithmic:
        axes.set_xscale("log")
        axes.set_xticks(sorted({x_of(settings, *pair) for pair in zip(points, rows, strict=True)}))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(_AXIS_NAMES.get(settings.x, _in_words(settings.x)))
    axes.set_ylabel(f"{_AXIS_NAMES[settings.y]}\n{interval_words(rows)}")
    if settings.x == "mixing_factor":
        axes.plot([], [], "o", color=LIGHT["muted"], label="ring: chosen by validation", **_RING)
    percent_axis(axes)
    if settings.x in _SHARES:
        percent_axis(axes, "x")
    remark = remark_on(settings.paper)
    if remark:
        words = fill(f"the paper: {remark}", _REMARK_WIDTH)
        axes.set_title(words, loc="left", fontsize=7.5, color=LIGHT["muted"])
    figure.legend(loc="outside lower left", ncols=3)


def with_choice(
    settings: TargetSettings, points: Sequence[Point], rows: Sequence[Row]
) -> list[Row]:
    """Return the rows, those over the mixing factor with a column for the choice by validation."""
    if settings.x != "mixing_factor":
        return list(rows)
    best = {id(line.rows[best_by_validation(line.rows)]) for line in _lines(settings, points, rows)}
    return [{**row, "chosen_by_validation": "yes" if id(row) in best else "no"} for row in rows]


def paper_rows(settings: TargetSettings, points: Sequence[Point], rows: Sequence[Row]) -> list[Row]:
    """Return a row for each number that the paper gives at an x where no point lies, or without
    an x: its best of a line."""
    return [
        {
            **{key: line.points[0].value(key) for key in settings.series},
            "name": f"the paper, {line.name}" if settings.series else "the paper",
            settings.x: statement.x,
            f"paper_{statement.measure}": statement.value,
            "paper_source": statement.source,
        }
        for line in _lines(settings, points, rows)
        for statement in _statements(settings, line)
        if statement.x not in line.x(settings)
    ]


def _lines(settings: TargetSettings, points: Sequence[Point], rows: Sequence[Row]) -> list[Line]:
    lines: dict[str, Line] = {}
    order = sorted(
        zip(points, rows, strict=True), key=lambda pair: x_of(settings, pair[0], pair[1])
    )
    # The series in the order of the table, the points of each in the order of x.
    for point in points:
        name = _series_name(settings, point)
        lines.setdefault(name, Line(name))
    for point, row in order:
        line = lines[_series_name(settings, point)]
        line.points.append(point)
        line.rows.append(row)
    return list(lines.values())


def _series_name(settings: TargetSettings, point: Point) -> str:
    return ", ".join(_words(key, point) for key in settings.series) or "ours"


def _words(key: str, point: Point) -> str:
    value: Any = point.value(key)
    match key:
        case "architecture":
            return architecture_name(value)
        case "tested_on":
            return "test images" if value is None else "unseen samples"
        case "name":
            return point.name
    return str(value)


def _in_words(column: str) -> str:
    return column.removeprefix("training.").replace("_", " ")


def _statements(settings: TargetSettings, line: Line) -> list[Statement]:
    """Return what the paper states of a line in the measure that is drawn."""
    # A point without generated images is one of every line, whatever its experiment names.
    mixed = [point for point in line.points if point.settings["mixing_factor"] < 1]
    stated = statements_about(settings.paper, mixed or line.points)
    return [statement for statement in stated if statement.measure == settings.y]


def _mark_choice(
    axes: Axes, x: Sequence[float], y: Sequence[float], line: Line, colour: str
) -> None:
    """Ring the point of a line that validation chooses."""
    best = best_by_validation(line.rows)
    axes.plot(x[best], y[best], "o", markeredgecolor=colour, **_RING)


def _draw_paper(axes: Axes, settings: TargetSettings, line: Line, colour: str, marker: str) -> None:
    for statement in _statements(settings, line):
        if statement.x is None:
            axes.axhline(statement.value, color=colour, lw=1, ls=(0, (1, 2)))
            axes.annotate(
                f"the paper, {statement.value:.2%} ({statement.source})",
                (1, statement.value),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="bottom",
                fontsize=7,
                color=colour,
            )
        else:
            axes.plot(
                statement.x,
                statement.value,
                marker,
                markersize=8,
                markerfacecolor="none",
                markeredgecolor=colour,
            )

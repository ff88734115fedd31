"""Rows of a table as a figure: accuracies, attack stages, neighbours."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from pyrobust.reporting.figure_style import LIGHT, MARKERS, name_rows, percent_axis
from pyrobust.reporting.paper_figures.gains import interval_words, shown, value_words
from pyrobust.reporting.paper_figures.points import Row
from pyrobust.reporting.wording import (
    architecture_name,
    percent,
    points,
    points_interval,
    stage_name,
)

_HOLLOW: dict[str, Any] = {"markersize": 9, "markerfacecolor": "none", "ls": ""}
_SET_COLOURS = {"train": LIGHT["clean"], "test": LIGHT["robust"], "self": LIGHT["generated"]}
_OF_BOTH = ("", "paper_")
_PAPER_IMAGES = 10_000
# Of a column with intervals, where that of one number is 1.
_INTERVAL_WIDTH = 1.8
# Light enough for text in the colours of the palette.
_TINT = LinearSegmentedColormap.from_list("tint", [LIGHT["page"], "#cfe0f2"])


def height_of(rows: Sequence[Row]) -> float:
    """Return a height in inches for a chart with these rows."""
    return 1.1 + 0.36 * len(rows)


def draw_accuracies(figure: Figure, axes: Axes, rows: Sequence[Row]) -> None:
    """Draw clean and robust accuracy of each row, and the paper's as hollow marks."""
    hollow = False
    for key, marker in MARKERS.items():
        values, low, high = zip(*(shown(row, key) for row in rows), strict=True)
        axes.hlines(range(len(rows)), low, high, colors=LIGHT[key], lw=2)
        axes.plot(
            values,
            range(len(rows)),
            marker,
            color=LIGHT[key],
            markersize=4.5,
            label=key,
        )
        for paper in (f"paper_{key}_accuracy", f"paper_{key}_mean"):
            hollow |= _draw_hollow(axes, rows, paper, marker, LIGHT[key])
    if hollow:
        name_hollow_marks(axes)
    name_rows(axes, [_model_name(row) for row in rows])
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel(f"accuracy, {interval_words(rows)}")
    percent_axis(axes, "x")
    figure.legend(loc="outside lower left", ncols=3)


def draw_stages(figure: Figure, axes: Axes, rows: Sequence[Row]) -> None:
    """Write what each attack stage leaves of each row, the paper's in brackets, on a tint of it."""
    stages = list(dict.fromkeys(key for row in rows for key in row if key.startswith("after_")))
    left = np.array([[row.get(stage, np.nan) for stage in stages] for row in rows], np.float64)
    axes.imshow(left, _TINT, vmin=0, vmax=1, aspect="auto")
    for column, stage in enumerate(stages):
        _write_column(axes, rows, stage, percent, column, "center")
    name_rows(axes, [_model_name(row) for row in rows])
    axes.set_xticks(range(len(stages)), [_stage_words(stage) for stage in stages])
    axes.xaxis.tick_top()
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    note = "accuracy after each stage"
    if any(row.get(f"paper_{stage}") is not None for row in rows for stage in stages):
        note += "; in brackets: the paper"
    axes.set_xlabel(note, loc="left")


def draw_neighbours(figure: Figure, panels: Sequence[Axes], rows: Sequence[Row]) -> None:
    """Draw complementarity as bars and coverage as marks, and print the other measures.

    Thin bars, hollow marks and numbers in brackets are the paper's.

    Args:
        panels: one for bars, one for marks, one for numbers.
    """
    left, right, beside = panels
    hollow = False
    named: set[str] = set()
    for place, row in enumerate(rows):
        for prefix, offset, height in zip(_OF_BOTH, (-0.06, 0.33), (0.5, 0.16), strict=True):
            start = 0.0
            for name, colour in _SET_COLOURS.items():
                share = row.get(f"{prefix}complementarity_{name}")
                if share is None:
                    continue
                label = None if prefix or name in named else name
                named |= {label} if label else set()
                left.barh(place + offset, share, height, start, color=colour, label=label)
                start += share
    for name, marker in (("train", "s"), ("test", "o")):
        key, colour = f"coverage_{name}", _SET_COLOURS[name]
        right.plot(
            [row.get(key, np.nan) for row in rows],
            range(len(rows)),
            marker,
            color=colour,
            markersize=4.5,
        )
        hollow |= _draw_hollow(right, rows, f"paper_{key}", marker, colour)
    name_rows(left, [row["name"] for row in rows])
    name_rows(right, ["" for _ in rows])
    left.set_xlabel("nearest neighbour lies in" + (" (thin: the paper)" if hollow else ""))
    right.set_xlabel("coverage" + (" (hollow: the paper)" if hollow else ""))
    left.set_xlim(0, 1)
    right.set_xlim(0, 1.02)
    for axes in (left, right):
        percent_axis(axes, "x")
    _write_measures(beside, rows)
    figure.legend(loc="outside lower left", ncols=3)


def name_hollow_marks(axes: Axes) -> None:
    """Say in the legend whose the hollow marks are."""
    axes.plot([], [], "o", markeredgecolor=LIGHT["muted"], label="hollow: the paper", **_HOLLOW)


def _write_measures(axes: Axes, rows: Sequence[Row]) -> None:
    """Write FID, Inception score and robust accuracy of each row, the paper's in brackets."""
    measures = (
        ("fid", "FID", _two_decimals),
        ("inception_score", "IS", _two_decimals),
        ("robust_accuracy", "robust", percent),
        ("gain", "gain", points),
    )
    known = [m for m in measures if any(row.get(f"{p}{m[0]}") for row in rows for p in _OF_BOTH)]
    has_intervals = any(row.get("gain_low") is not None for row in rows)
    right = 0.0
    for key, name, in_words in known:
        right += _INTERVAL_WIDTH if key == "gain" and has_intervals else 1
        axes.text(right, -0.75, name, ha="right", color=LIGHT["muted"])
        _write_column(axes, rows, key, in_words, right, "right")
    if any(row.get("num_runs") for row in rows):
        notes = [f"robust: {value_words(rows)}"]
        notes += ["gain: points, Welch's 95% interval"] if has_intervals else []
        axes.text(right, len(rows) - 0.2, "\n".join(notes), ha="right", va="top",
                  color=LIGHT["muted"], fontsize=7)  # fmt: skip
    axes.set_xlim(0, max(right, 1))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_axis_off()


def _write_column(
    axes: Axes,
    rows: Sequence[Row],
    key: str,
    in_words: Callable[[float, int], str],
    x: float,
    align: str,
) -> None:
    """Write one measure of each row, and below it the paper's in brackets; a gain's interval.

    Args:
        in_words: from a value and the number of test images behind it.
    """
    for place, row in enumerate(rows):
        ours, paper = (row.get(f"{prefix}{key}") for prefix in _OF_BOTH)
        below = None if paper is None else f"({in_words(paper, _PAPER_IMAGES)})"
        if key == "robust_accuracy" and row.get("num_runs"):
            ours = shown(row, "robust")[0]
        if key == "gain" and row.get("gain_low") is not None:
            below = points_interval([row["gain_low"], row["gain_high"]])
        style: dict[str, Any] = {"ha": align, "va": "center"}
        up = 0.0 if below is None else 0.2
        words = "–" if ours is None else in_words(ours, row.get("num_images", 0))
        axes.text(x, place - up, words, **style)
        if below is not None:
            axes.text(x, place + up, below, color=LIGHT["muted"], **style)


def _two_decimals(value: float, num_images: int) -> str:
    return f"{value:.2f}"


def _draw_hollow(axes: Axes, rows: Sequence[Row], key: str, marker: str, colour: str) -> bool:
    """Draw the paper's numbers; return whether there are any."""
    known = [(row[key], place) for place, row in enumerate(rows) if row.get(key) is not None]
    if known:
        values, places = zip(*known, strict=True)
        axes.plot(values, places, marker, markeredgecolor=colour, **_HOLLOW)
    return bool(known)


def _model_name(row: Row) -> str:
    return f"{row['name']}, {architecture_name(row['architecture'])}"


def _stage_words(stage: str) -> str:
    name = stage.removeprefix("after_")
    for cascade, words in (("aa_mt_", "AA+MT\n"), ("autoattack_", "AutoAttack\n")):
        if name.startswith(cascade):
            return words + stage_name(name.removeprefix(cascade))
    return name

"""Rows of a table as a figure: accuracies, attack stages, neighbours."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pyrobust.reporting.palette import LIGHT, MARKERS
from pyrobust.reporting.svg import percent_axis
from pyrobust.reporting.targets.points import Row
from pyrobust.reporting.wording import stage_name

_HOLLOW: dict[str, Any] = {"markersize": 9, "markerfacecolor": "none", "ls": ""}
_SET_COLOURS = {"train": LIGHT["clean"], "test": LIGHT["robust"], "self": LIGHT["generated"]}
_STAGE_STYLES = ("o", "D", "s", "^", "v", "X", "P", "*")


def height_of(rows: Sequence[Row]) -> float:
    """Return a height in inches for a chart with these rows."""
    return 1.1 + 0.36 * len(rows)


def draw_accuracies(figure: Figure, axes: Axes, rows: Sequence[Row]) -> None:
    """Draw clean and robust accuracy of each row, and the paper's as hollow marks."""
    for key, marker in MARKERS.items():
        values = [row[f"{key}_accuracy"] for row in rows]
        low, high = ([row[f"{key}_{side}"] for row in rows] for side in ("low", "high"))
        axes.hlines(range(len(rows)), low, high, colors=LIGHT[key], lw=2)
        axes.plot(
            values,
            range(len(rows)),
            marker,
            color=LIGHT[key],
            markersize=4.5,
            label=f"{key}, 95% interval",
        )
        _draw_hollow(axes, rows, f"paper_{key}_accuracy", marker, LIGHT[key], f"{key}, the paper")
    _name_rows(axes, [_model_name(row) for row in rows])
    axes.set_xlim(-0.02, 1.02)
    percent_axis(axes, "x")
    figure.legend(loc="outside lower left", ncols=2)


def draw_stages(figure: Figure, axes: Axes, rows: Sequence[Row]) -> None:
    """Draw what each attack stage leaves of each row, and the paper's as hollow marks."""
    stages = list(dict.fromkeys(key for row in rows for key in row if key.startswith("after_")))
    colours = [LIGHT[name] for name in ("clean", "muted", "attacked", "robust", "generated", "ink")]
    for number, stage in enumerate(stages):
        known = [
            (row[stage], place) for place, row in enumerate(rows) if row.get(stage) is not None
        ]
        style, colour = _STAGE_STYLES[number % 8], colours[number % 6]
        values, places = zip(*known, strict=True)
        axes.plot(values, places, style, color=colour, markersize=4.5, label=_stage_words(stage))
        _draw_hollow(axes, rows, f"paper_{stage}", style, colour, None)
    _name_rows(axes, [_model_name(row) for row in rows])
    axes.set_xlabel("accuracy left; hollow: the paper")
    percent_axis(axes, "x")
    figure.legend(loc="outside lower left", ncols=3)


def draw_neighbours(figure: Figure, left: Axes, right: Axes, rows: Sequence[Row]) -> None:
    """Draw complementarity as bars (thin: the paper's), coverage as marks (hollow: the paper's)."""
    for place, row in enumerate(rows):
        for prefix, offset, height in (("", -0.06, 0.5), ("paper_", 0.33, 0.16)):
            start = 0.0
            for name, colour in _SET_COLOURS.items():
                share = row.get(f"{prefix}complementarity_{name}")
                if share is None:
                    continue
                label = name if place == 0 and not prefix else None
                left.barh(place + offset, share, height, start, color=colour, label=label)
                start += share
    for name, marker in (("train", "s"), ("test", "o")):
        key, colour = f"coverage_{name}", _SET_COLOURS[name]
        right.plot(
            [row[key] for row in rows], range(len(rows)), marker, color=colour, markersize=4.5
        )
        _draw_hollow(right, rows, f"paper_{key}", marker, colour, None)
    _name_rows(left, [row["name"] for row in rows])
    _name_rows(right, ["" for _ in rows])
    left.set_xlabel("nearest neighbour lies in (thin: the paper)")
    right.set_xlabel("coverage (hollow: the paper)")
    left.set_xlim(0, 1)
    right.set_xlim(0, 1.02)
    for axes in (left, right):
        percent_axis(axes, "x")
    figure.legend(loc="outside lower left", ncols=3)


def _draw_hollow(
    axes: Axes, rows: Sequence[Row], key: str, marker: str, colour: str, label: str | None
) -> None:
    known = [(row[key], place) for place, row in enumerate(rows) if row.get(key) is not None]
    if known:
        values, places = zip(*known, strict=True)
        axes.plot(values, places, marker, markeredgecolor=colour, label=label, **_HOLLOW)


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _model_name(row: Row) -> str:
    return f"{row['name']}, {row['architecture'].upper().replace('RESNET', 'ResNet')}"


def _stage_words(stage: str) -> str:
    name = stage.removeprefix("after_")
    for cascade, words in (("aa_mt_", "AA+MT: "), ("autoattack_", "AutoAttack: ")):
        if name.startswith(cascade):
            return words + stage_name(name.removeprefix(cascade))
    return name

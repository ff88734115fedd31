"""Charts of results: accuracies, attack stages, nearest neighbours."""

from typing import Any

from matplotlib.axes import Axes

from pyrobust.config import parse_epsilon
from pyrobust.reporting.accuracies import interval_of
from pyrobust.reporting.figure_style import (
    LIGHT,
    MARKERS,
    as_svg,
    drawing,
    name_rows,
    percent_axis,
)
from pyrobust.reporting.wording import norm_name, stage_name

_WIDTH = 4.4
_ROW = 0.34


def attack_chart(scores: dict[str, Any], labeller: dict[str, Any]) -> str:
    """Draw what each attack stage leaves of the classifier and of the non-robust labeller."""
    stages = scores["aa_mt"]["stages"]
    names = ["Clean", *(stage_name(stage["name"]) for stage in stages)]
    with drawing(_WIDTH, 0.8 + _ROW * len(names)) as (figure, (axes,)):
        for series, label, colour, marker, offset in (
            (scores, "robust classifier", LIGHT["robust"], "o", -0.14),
            (labeller, "labeller (not robust)", LIGHT["attacked"], "D", 0.14),
        ):
            values, intervals = _accuracies_left(series)
            rows = [row + offset for row in range(len(names))]
            low, high = zip(*intervals, strict=True)
            axes.hlines(rows, low, high, colors=colour, lw=2.2)
            axes.plot(values, rows, marker, color=colour, markersize=4.5, label=label)
        _label_rows(axes, names)
        axes.set_xlabel("accuracy, 95% interval")
        figure.legend(loc="outside upper left", ncols=2)
        return as_svg(
            figure, "Accuracy after each attack stage, of the classifier and of the labeller"
        )


def robustness_curve(record: dict[str, Any]) -> str:
    """Draw robust accuracy over the radius, of the classifier, its baseline and the labeller."""
    labeller = record["labeller"]["attack_check"]
    series = [
        (record, "this classifier", LIGHT["robust"], "o"),
        (labeller, "labeller (not robust)", LIGHT["attacked"], "D"),
    ]
    if record["baseline"]:
        # Of the same images, since the two are compared image by image.
        baseline = {
            "clean_accuracy": record["baseline"]["clean_accuracy"]["baseline"],
            "num_images": record["baseline"]["num_images"],
            "curve": record["baseline"]["curve"],
        }
        series.append((baseline, record["baseline"]["experiment"], LIGHT["generated"], "s"))
    with drawing(_WIDTH, 3.0) as (figure, (axes,)):
        for scores, label, colour, marker in series:
            clean = scores["clean_accuracy"]
            radii = [0.0, *(parse_epsilon(point["epsilon"]) for point in scores["curve"])]
            values = [clean, *(point["robust_accuracy"] for point in scores["curve"])]
            intervals = [
                interval_of(clean, scores["num_images"]),
                *(point["interval"] for point in scores["curve"]),
            ]
            low, high = zip(*intervals, strict=True)
            axes.vlines(radii, low, high, colors=colour, lw=1.6)
            axes.plot(radii, values, f"{marker}-", color=colour, markersize=4.5, label=label)
        own = parse_epsilon(record["settings"]["epsilon"])
        axes.axvline(own, color=LIGHT["muted"], lw=1, ls=(0, (3, 3)))
        axes.set_xticks(
            [0.0, *(parse_epsilon(point["epsilon"]) for point in record["curve"])],
            ["0", *(point["epsilon"] for point in record["curve"])],
        )
        axes.set_ylim(-0.02, 1.02)
        percent_axis(axes)
        axes.set_xlabel(f"radius in {norm_name(record['settings']['norm'])}")
        figure.legend(loc="outside upper left", ncols=2)
        return as_svg(figure, "Robust accuracy over the radius")


def _accuracies_left(scores: dict[str, Any]) -> tuple[list[float], list[list[float]]]:
    """Return clean accuracy and what each stage leaves, with their intervals."""
    stages = scores["aa_mt"]["stages"]
    return (
        [scores["clean_accuracy"], *(stage["robust_accuracy"] for stage in stages)],
        [scores["clean_interval"], *(stage["interval"] for stage in stages)],
    )


def accuracy_chart(rows: list[dict[str, Any]], title: str) -> str:
    """Draw clean and robust accuracy of each row, joined by a line.

    Args:
        rows: `name`, `clean_accuracy` and `robust_accuracy`, which may be None, and
            `robust_interval`, which is drawn where it is not None.
    """
    with drawing(_WIDTH, 0.8 + 0.26 * len(rows)) as (figure, (axes,)):
        for place, row in enumerate(rows):
            robust, clean = row["robust_accuracy"], row["clean_accuracy"]
            if clean is not None:
                axes.hlines(place, robust, clean, colors=LIGHT["rule"], lw=3)
            if row["robust_interval"] is not None:
                low, high = row["robust_interval"]
                axes.hlines(place, low, high, colors=LIGHT["robust"], lw=2.2)
        for key, label in (("clean", "clean"), ("robust", "robust, 95% interval")):
            known = [
                (row[f"{key}_accuracy"], place)
                for place, row in enumerate(rows)
                if row[f"{key}_accuracy"] is not None
            ]
            values, places = zip(*known, strict=True)
            axes.plot(values, places, MARKERS[key], color=LIGHT[key], markersize=5, label=label)
        _label_rows(axes, [row["name"] for row in rows])
        figure.legend(loc="outside upper left", ncols=2)
        return as_svg(figure, title)


def _label_rows(axes: Axes, names: list[str]) -> None:
    """Name the rows of a chart, the first on top, over an axis of accuracy."""
    name_rows(axes, names)
    axes.set_xlim(-0.02, 1.02)
    percent_axis(axes, "x")
    axes.set_xlabel("accuracy")


def neighbour_chart(complementarity: dict[str, float], ideal: dict[str, float]) -> str:
    """Draw the shares of nearest neighbours as one bar, above the ideal ones."""
    colours = {"train": LIGHT["clean"], "test": LIGHT["robust"], "self": LIGHT["generated"]}
    bars = {"these samples": complementarity, "ideal": ideal}
    with drawing(_WIDTH, 1.55) as (figure, (axes,)):
        for row, shares in enumerate(bars.values()):
            draw_shares(axes, row, shares, colours)
        axes.set_yticks(range(len(bars)), list(bars))
        axes.invert_yaxis()
        figure.legend(loc="outside upper left", ncols=3)
        title = "Nearest neighbours of generated images by set, compared with the ideal"
        return as_svg(figure, title)


def draw_shares(axes: Axes, row: int, shares: dict[str, float], colours: dict[str, str]) -> None:
    """Draw shares of a whole as one bar, in the order of `colours`; row 0 names them."""
    left = 0.0
    for name, colour in colours.items():
        share = shares[name]
        label = name if row == 0 else None
        axes.barh(row, share, left=left, color=colour, height=0.7, label=label)
        if share > 0.08:
            style: dict[str, Any] = {"ha": "center", "va": "center", "color": LIGHT["page"]}
            axes.text(left + share / 2, row, f"{share:.0%}", **style)
        left += share
    axes.grid(visible=False)
    axes.set_xlim(0, 1)
    percent_axis(axes, "x")

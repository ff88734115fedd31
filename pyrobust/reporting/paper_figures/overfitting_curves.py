"""Robust overfitting of experiments: accuracy on training and validation images over the steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pyrobust.errors import UserError
from pyrobust.evaluation.intervals import unpaired_difference
from pyrobust.files import read_json
from pyrobust.reporting.overfitting import Y_LABEL, draw_overfitting, overfitting_of
from pyrobust.reporting.paper_figures.points import Point, Row

WIDTH = 3.4  # inches of a panel


def rows_of(point: Point) -> list[Row]:
    """Return a row for each validation and kind of weights: means over the runs of a point.

    `gap_low` and `gap_high` are the 95 % interval over images.

    Raises:
        UserError: the runs attacked no training images.
    """
    found = _overfitting(point)
    rows = []
    for weights in ("averaged", "live"):
        images, validated = found["num_images"], found[weights]["num_validation_images"]
        for entry in found[weights]["curve"]:
            low, high = unpaired_difference(entry["train"], images, entry["validation"], validated)
            rows.append(
                {
                    "name": point.name,
                    "experiment": point.experiment,
                    "num_runs": found["num_runs"],
                    "num_images": images,
                    "num_validation_images": validated,
                    "weights": weights,
                    "step": entry["step"],
                    "train_robust_accuracy": entry["train"],
                    "validation_robust_accuracy": entry["validation"],
                    "gap": entry["gap"],
                    "gap_low": low,
                    "gap_high": high,
                    "case": found["case"],
                }
            )
    return rows


def draw(figure: Figure, panels: Sequence[Axes], points: Sequence[Point]) -> None:
    """Draw a panel for each point; the shaded gap is that of the averaged weights."""
    for axes, point in zip(panels, points, strict=True):
        draw_overfitting(axes, _overfitting(point))
        axes.set_title(point.name, fontsize=8)
    panels[0].set_ylabel(Y_LABEL)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=4)


def _overfitting(point: Point) -> dict[str, Any]:
    runs = [read_json(Path(path), "pyrobust train") for path in point.files["training"]]
    found = overfitting_of(runs)
    if found is None:
        raise UserError(
            f"'{point.experiment}' attacked no training images: set gap_images in its 'training' "
            "and a mixing_factor above 0, and run snakemake again"
        )
    return found

"""Robust overfitting: training against validation images over the steps, and which case it is.

Rice et al. (2020): robust accuracy on unseen images peaks and then falls while that on training
images keeps rising. Each validation of a run attacks some training images as well
(`pyrobust/training/overfitting.py`); here the runs of an experiment are averaged.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes

from pyrobust.config.training import TrainSettings
from pyrobust.evaluation.intervals import unpaired_difference
from pyrobust.reporting.figure_style import LIGHT, as_svg, drawing, percent_axis

Json = dict[str, Any]

# Prefixes of the history's keys: weights, then validation and training images.
_WEIGHTS = {"averaged": ("", "train_"), "live": ("live_", "live_train_")}
_WIDTH, _HEIGHT = 5.4, 3.2
Y_LABEL = "robust accuracy, PGD-40"


def overfitting_of(runs: Sequence[Json]) -> Json | None:
    """Return the generalisation gap over the steps, mean over runs; None where none was measured.

    `case` is `too_long` where validation accuracy has fallen from its peak, `too_few_images` where
    only the gap is beyond noise, else `too_small`; it is that of the averaged weights. Intervals
    are over images and treat the mean over runs, which share their images, as one run.

    Args:
        runs: `training.json` of each run.
    """
    if any(run["settings"]["mixing_factor"] == 0 for run in runs):
        return None  # trained on no original image, so none is a training image
    histories = [run["history"] for run in runs]
    if not all(f"{_WEIGHTS['live'][1]}robust_accuracy" in entry for h in histories for entry in h):
        return None
    # A training run omits this setting at its default.
    default = TrainSettings.model_fields["gap_images"].default
    images = min(run["settings"].get("gap_images", default) for run in runs)
    images = min(images, min(run["num_original"] for run in runs))
    of_validation = min(run["validation"]["num_images"] for run in runs)
    found: Json = {"num_runs": len(runs), "num_images": images, "attack": "pgd40"}
    for weights, prefixes in _WEIGHTS.items():
        count = of_validation if weights == "averaged" else min(images, of_validation)
        found[weights] = _of_weights(histories, prefixes, images, count)
    return {**found, "case": _case(found["averaged"])}


def _of_weights(
    histories: Sequence[Sequence[Json]], prefixes: tuple[str, str], images: int, validated: int
) -> Json:
    curve = []
    for entries in zip(*histories, strict=True):
        validation, train = (
            fmean(entry[f"{prefix}robust_accuracy"] for entry in entries) for prefix in prefixes
        )
        gap = {"train": train, "validation": validation, "gap": train - validation}
        curve.append({"step": entries[0]["step"], **gap})
    last, peak = curve[-1], max(curve, key=lambda point: point["validation"])
    gap_interval = unpaired_difference(last["train"], images, last["validation"], validated)
    # As for independent images, though they are the same ones: the interval is cautious.
    fall_interval = unpaired_difference(
        peak["validation"], validated, last["validation"], validated
    )
    return {
        "num_validation_images": validated,
        "curve": curve,
        "gap": last["gap"],
        "gap_interval": list(gap_interval),
        "peak_step": peak["step"],
        "fall": peak["validation"] - last["validation"],
        "fall_interval": list(fall_interval),
    }


def _case(averaged: Json) -> str:
    if averaged["fall_interval"][0] > 0:
        return "too_long"
    return "too_few_images" if averaged["gap_interval"][0] > 0 else "too_small"


def overfitting_chart(overfitting: Json) -> str:
    """Draw robust accuracy on training and validation images: averaged and live weights."""
    with drawing(_WIDTH, _HEIGHT) as (figure, (axes,)):
        draw_overfitting(axes, overfitting)
        axes.set_ylabel(Y_LABEL)
        figure.legend(loc="outside upper left", ncols=2)
        title = "Robust accuracy on training and validation images over the steps"
        return as_svg(figure, title)


def draw_overfitting(axes: Axes, overfitting: Json) -> None:
    """Draw the curves of what `overfitting_of` returns."""
    styles = {"averaged": ("-", 1.8), "live": ("--", 1.1)}
    colours = {"train": LIGHT["attacked"], "validation": LIGHT["robust"]}
    for weights, (style, width) in styles.items():
        curve = overfitting[weights]["curve"]
        steps = [point["step"] for point in curve]
        for images, colour in colours.items():
            values = [point[images] for point in curve]
            label = f"{'training' if images == 'train' else images}, {weights} weights"
            axes.plot(steps, values, style, color=colour, lw=width, label=label, marker=".")
        if weights == "averaged":
            low, high = ([point[key] for point in curve] for key in ("validation", "train"))
            axes.fill_between(steps, low, high, color=LIGHT["rule"], alpha=0.5, lw=0)
    axes.set_ylim(0, 1)
    axes.set_xlabel("step")
    percent_axis(axes)

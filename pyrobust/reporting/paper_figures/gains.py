"""Comparisons of points: the gain from generated images, and the choice by validation."""

from collections.abc import Sequence
from typing import Any

from pyrobust.reporting.effects import MIN_RUNS, effect_of
from pyrobust.reporting.paper_figures.points import Point, Row

# Settings of the point without generated images that a gain is measured against.
_SHARED = (
    "dataset", "norm", "epsilon", "architecture", "recipe", "training", "seeds", "test_runs",
)  # fmt: skip

# Numbers of runs above one whose mean has no interval.
_NO_INTERVAL = frozenset(range(2, MIN_RUNS))


def shown(row: Row, measure: str) -> tuple[float, float, float]:
    """Return what a figure shows of a row: (value, low, high).

    The mean over runs with its interval where several were evaluated (two have no interval), else
    the one run with its interval over images.

    Args:
        measure: "clean" or "robust".
    """
    if row["num_runs"] == 1:
        return row[f"{measure}_accuracy"], row[f"{measure}_low"], row[f"{measure}_high"]
    mean = row[f"{measure}_mean"]
    low, high = (row[f"{measure}_mean_{side}"] for side in ("low", "high"))
    return mean, mean if low is None else low, mean if high is None else high


def value_words(rows: Sequence[Row]) -> str:
    """Return what the values of a figure are: of one run, or means over seeds."""
    counts = sorted({row["num_runs"] for row in rows if row.get("num_runs")})
    several = [count for count in counts if count > 1]
    if not several:
        return "one run"
    seeds = " to ".join(str(count) for count in dict.fromkeys((several[0], several[-1])))
    return ("one run, or " if 1 in counts else "") + f"mean of {seeds} seeds"


def interval_words(rows: Sequence[Row]) -> str:
    """Return what the values and intervals of a figure are, for the label of its axis."""
    counts = {row["num_runs"] for row in rows}
    over = {"images" if count == 1 else "seeds" for count in counts if count not in _NO_INTERVAL}
    if not over:
        return value_words(rows)
    words = f"{value_words(rows)}, 95% interval"
    if over == {"images"} or len(over) == 2:
        words += f" over {' or '.join(sorted(over))}"
    return words + (f" from {MIN_RUNS} on" if counts & _NO_INTERVAL and "seeds" in over else "")


def gains(points: Sequence[Point], rows: Sequence[Row]) -> list[Row]:
    """Return for each row the gain in robust accuracy over training without generated images.

    `gain` is the difference of means over runs, `gain_low` and `gain_high` its Welch interval,
    which takes three runs on either side. All are None without a point at mixing factor 1 that
    has the same task, model, training, attack and number of runs.
    """
    baselines = {
        _task(point): row
        for point, row in zip(points, rows, strict=True)
        if point.settings["mixing_factor"] == 1 and row.get("num_runs")
    }
    return [
        _gain(row, baselines.get(_task(point)) if _has_gain(point, row) else None)
        for point, row in zip(points, rows, strict=True)
    ]


def _has_gain(point: Point, row: Row) -> bool:
    """Return whether a point uses generated images: a baseline gains nothing over itself."""
    return bool(row.get("num_runs")) and point.settings["mixing_factor"] < 1


def _gain(row: Row, baseline: Row | None) -> Row:
    if baseline is None or row["num_runs"] != baseline["num_runs"]:
        return {"gain": None, "gain_low": None, "gain_high": None}
    effect = effect_of(row["robust_runs"], baseline["robust_runs"])
    low, high = effect["interval"] if effect else (None, None)
    return {"gain": row["robust_mean"] - baseline["robust_mean"], "gain_low": low,
            "gain_high": high}  # fmt: skip


def _task(point: Point) -> str:
    shared: dict[str, Any] = {key: point.settings.get(key) for key in _SHARED}
    shared["seeds"] = len(shared["seeds"] or ())
    columns = ("evaluation", "tested_on", "test_selection", "test_samples")
    return repr((shared, [point.columns[key] for key in columns]))


def best_by_validation(rows: Sequence[Row]) -> int:
    """Return which row of a line validation chooses, the first of equals.

    The test accuracies play no part: the best of them is the best by chance as well.
    """
    return max(range(len(rows)), key=lambda number: (_validation(rows[number]), -number))


def _validation(row: Row) -> float:
    """Return the statistic of the validation split that matches what is shown of the test."""
    key = "validation_accuracy" if row["num_runs"] == 1 else "validation_mean"
    return float(row[key])

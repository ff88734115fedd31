"""Training curves, from the log of a run."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrobust.errors import UserError
from pyrobust.reporting.figure_style import LIGHT, MARKERS, as_svg, drawing, percent_axis

# Points of a curve: more than a page can show, few enough to keep the page small.
_MAX_POINTS = 200
_WIDTH, _HEIGHT = 4.2, 2.8


@dataclass(frozen=True)
class Log:
    """Lines of `log.jsonl`: those of the training batches, and those of the validation split."""

    training: list[dict[str, Any]]
    validation: list[dict[str, Any]]


def read_log(path: Path) -> Log:
    """Read the log of one run.

    Raises:
        UserError: the file is missing or a line is not JSON.
    """
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; run 'pyrobust train' to write it") from error
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path} has a line that is not JSON ({error}); run 'pyrobust train' again"
        ) from error
    return Log(
        training=[line for line in lines if line.get("split") != "validation"],
        validation=[line for line in lines if line.get("split") == "validation"],
    )


def accuracy_curves(log: Log, best_step: int, title: str) -> str:
    """Draw clean and robust accuracy: lines on training batches, marks on the validation split."""
    with drawing(_WIDTH, _HEIGHT) as (figure, (axes,)):
        for key, marker in MARKERS.items():
            training = _thinned(*_series(log.training, f"{key}_accuracy"))
            validation = _series(log.validation, f"{key}_accuracy")
            style: dict[str, Any] = {"color": LIGHT[key], "markersize": 4}
            axes.plot(*training, "-", alpha=0.55, label=f"{key}, training", **style)
            axes.plot(*validation, f"{marker}-", label=f"{key}, validation", **style)
        axes.axvline(best_step, color=LIGHT["muted"], lw=1, ls=(0, (3, 3)))
        axes.set_ylim(0, 1)
        axes.set_xlabel("step")
        percent_axis(axes)
        figure.legend(loc="outside upper left", ncols=2)
        return as_svg(figure, title)


def loss_curves(log: Log, title: str) -> str:
    """Draw the loss of the training batches, and the clean and the robust term in it."""
    series = {
        "loss": ("loss", LIGHT["ink"], "-"),
        "clean_loss": ("cross-entropy", LIGHT["clean"], "--"),
        "robust_loss": ("KL divergence", LIGHT["robust"], ":"),
    }
    with drawing(_WIDTH, _HEIGHT) as (figure, (axes,)):
        for key, (label, colour, style) in series.items():
            if not any(key in line for line in log.training):
                continue  # an objective without this term
            axes.plot(*_thinned(*_series(log.training, key)), style, color=colour, label=label)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("step")
        figure.legend(loc="outside upper left", ncols=3)
        return as_svg(figure, title)


def generator_curves(log: Log) -> str:
    """Draw the log of a generator's training: its losses and other metrics."""
    colours = (LIGHT["ink"], LIGHT["clean"], LIGHT["robust"], LIGHT["muted"])
    keys = [
        key
        for key in log.training[0]
        if key not in ("step", "epoch", "learning_rate")
        # Where no update was skipped, a line at zero would only flatten the losses.
        and not (key == "skipped" and not any(line[key] for line in log.training))
    ]
    with drawing(_WIDTH, _HEIGHT) as (figure, (axes,)):
        for number, key in enumerate(keys):
            axes.plot(
                *_thinned(*_series(log.training, key)),
                ("-", "--", ":", "-.")[number % 4],
                color=colours[number % 4],
                label=key.replace("_", " "),
            )
        axes.set_xlabel("step")
        figure.legend(loc="outside upper left", ncols=3)
        return as_svg(figure, "Training log of the generator")


def _series(
    lines: list[dict[str, Any]], key: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    chosen = [line for line in lines if line.get(key) is not None]
    return (
        np.array([line["step"] for line in chosen], dtype=np.float64),
        np.array([line[key] for line in chosen], dtype=np.float64),
    )


def _thinned(
    steps: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return means of neighbouring points, at most `_MAX_POINTS` of them."""
    if len(steps) <= _MAX_POINTS:
        return steps, values
    blocks = np.array_split(np.arange(len(steps)), _MAX_POINTS)
    return (
        np.array([steps[block].mean() for block in blocks]),
        np.array([values[block].mean() for block in blocks]),
    )

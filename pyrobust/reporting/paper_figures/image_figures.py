"""Landscapes and samples: the numbers behind them, and their figures."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pyrobust.config import parse_epsilon
from pyrobust.data.store import SampleStore
from pyrobust.files import read_json
from pyrobust.reporting.images import MAX_CLASSES, PER_CLASS
from pyrobust.reporting.landscapes import draw_surface
from pyrobust.reporting.paper_figures.points import Point, Row

# Figure 11 shows the first two images.
NUM_LANDSCAPES = 2
_NAME_WIDTH = 45  # characters


def landscape_rows(point: Point) -> list[Row]:
    """Return a row for each point of the planes: image, label, u, v, margin."""
    return [
        {
            "name": point.name,
            "experiment": point.experiment,
            "image": image["image"],
            "label": image["label"],
            "u": u,
            "v": v,
            "margin": margin,
        }
        for image in _landscape(point)["images"][:NUM_LANDSCAPES]
        for v, margins in zip(image["v"], image["margin"], strict=True)
        for u, margin in zip(image["u"], margins, strict=True)
    ]


def draw_landscapes(figure: Figure, points: Sequence[Point]) -> None:
    """Draw the planes of each point side by side."""
    for number, point in enumerate(points):
        landscape = _landscape(point)
        images = landscape["images"][:NUM_LANDSCAPES]
        for column, image in enumerate(images):
            place = number * NUM_LANDSCAPES + column + 1
            axes: Any = figure.add_subplot(len(points), NUM_LANDSCAPES, place, projection="3d")
            draw_surface(axes, image, landscape["norm"], parse_epsilon(landscape["epsilon"]))
            words = f"{fill(point.name, _NAME_WIDTH)}\nmargin around test image {image['image']}"
            axes.set_title(words, fontsize=8)


def _landscape(point: Point) -> dict[str, Any]:
    found = read_json(Path(str(point.files["landscape"])), "pyrobust landscape")
    return found


def sample_rows(point: Point) -> list[Row]:
    """Return a row for each image that is shown: its class, its row in the store, its score."""
    store = SampleStore.open(Path(str(point.files["samples"])).parent)
    scores = store.scores()
    return [
        {
            "name": point.name,
            "generator": point.settings["generator"],
            "class": store.class_names[label],
            "row": int(row),
            "score": None if scores is None else float(scores[row]),
        }
        for label, rows in enumerate(_shown(store))
        for row in rows
    ]


def draw_samples(figure: Figure, panels: Sequence[Axes], points: Sequence[Point]) -> None:
    """Draw the first images of each class, a panel for each generator, a line for each class."""
    for axes, point in zip(panels, points, strict=True):
        store = SampleStore.open(Path(str(point.files["samples"])).parent)
        height, width, channels = store.image_shape
        shown = _shown(store)
        canvas = np.full((len(shown) * (height + 1), PER_CLASS * (width + 1), channels), 255)
        for line, rows in enumerate(shown):
            for place, image in enumerate(store.gather(rows)):
                top, left = line * (height + 1), place * (width + 1)
                canvas[top : top + height, left : left + width] = image
        picture = np.broadcast_to(canvas, (*canvas.shape[:2], 3)).astype(np.uint8)
        axes.imshow(picture, interpolation="nearest")
        axes.set_yticks(
            [line * (height + 1) + height / 2 for line in range(len(shown))],
            store.class_names[: len(shown)] if axes is panels[0] else [""] * len(shown),
        )
        axes.set_xticks([])
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.set_title(point.name, fontsize=9)
        for spine in axes.spines.values():
            spine.set_visible(False)


def _shown(store: SampleStore) -> list[np.ndarray]:
    """Return the rows of the first images of each of the first classes, without hand-picking."""
    labels = store.labels()
    count = min(len(store.class_names), MAX_CLASSES)
    return [np.flatnonzero(labels == label)[:PER_CLASS] for label in range(count)]

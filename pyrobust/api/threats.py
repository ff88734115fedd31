"""`pyrobust.threats`: the robust accuracy of a model under threats of several kinds."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pyrobust.api.images import Images, Labels, labelled_images
from pyrobust.api.models import Model, model_source
from pyrobust.config import parse_settings
from pyrobust.config.evaluation import ThreatSettings
from pyrobust.config.threats import ThreatsSettings
from pyrobust.evaluation.describe_threats import describe_threats
from pyrobust.evaluation.model_under_test import Subject
from pyrobust.evaluation.threats import ROWS, evaluate_threats
from pyrobust.files import result_folder, write_text
from pyrobust.ops.device import choose_device


@dataclass(frozen=True, repr=False)
class ThreatsResult:
    """What the attacks of several threats found.

    Attributes:
        summary: what `threats.json` holds (docs/formats.md).
        rows: one row per image (docs/formats.md).
    """

    summary: Mapping[str, Any]
    rows: pa.Table

    @property
    def robust_accuracy(self) -> dict[str, float]:
        """Share of images that no attack breaks, in [0, 1], by threat; "all" is under all."""
        rows = (*self.summary["threats"], *self.summary["unions"])
        return {row["name"]: float(row["robust_accuracy"]) for row in rows}

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """95% Wilson intervals of `robust_accuracy`, over images."""
        rows = (*self.summary["threats"], *self.summary["unions"])
        return {row["name"]: tuple(row["interval"]) for row in rows}

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write the result as one HTML page that needs no other file, and return its path."""
        from pyrobust.reporting.threats_page import threats_page

        write_text(Path(path), threats_page(self.summary))
        return Path(path)

    def __repr__(self) -> str:
        """Return the accuracy under each threat, a line each, and failed checks."""
        return "\n".join(describe_threats(self.summary))


def threats(
    model: Model,
    images: Images,
    labels: Labels = None,
    *,
    weights: str | Path | None = None,
    mean: float | Sequence[float] = (),
    std: float | Sequence[float] = (),
    device: str = "auto",
    output: str | os.PathLike[str] | None = None,
    **settings: Any,
) -> ThreatsResult:
    """Attack a model in linf, l2 and l1, by transformations, patches and corruptions.

    Args:
        model: see `pyrobust.load`. A module of yours is copied and stays as it is.
        images, labels: see `pyrobust.evaluate`.
        weights, mean, std: see `pyrobust.load`.
        output: folder for the result and for the state that a killed call resumes from.
        settings: fields of `ThreatsSettings` (docs/threats.md), such as `threats=("linf", "l1")`.

    Raises:
        UserError: names the argument, its value and what to change.
    """
    parsed = parse_settings(ThreatsSettings, settings)
    subject = Subject.open(
        model_source(model, weights, mean, std),
        labelled_images(images, labels, parsed.num_images),
        ThreatSettings(norm="linf", epsilon=parsed.linf),
        str(choose_device(device)),
    )
    with result_folder(output) as folder:
        summary = evaluate_threats(subject, folder, parsed)
        return ThreatsResult(summary, pq.read_table(folder / ROWS))

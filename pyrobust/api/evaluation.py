"""`pyrobust.evaluate`: the robust accuracy of any model on any images, in memory."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from pyrobust.api.images import Images, Labels, labelled_images
from pyrobust.api.models import Model, epsilon_of, model_source
from pyrobust.api.trackers import trackers_of
from pyrobust.config import parse_settings
from pyrobust.config.evaluation import EvaluationSettings, ThreatSettings, check_evaluation
from pyrobust.errors import UserError
from pyrobust.evaluation import evaluate as evaluation
from pyrobust.evaluation.anytime import Limits
from pyrobust.evaluation.attack_suites import CustomAttack
from pyrobust.evaluation.describe import (
    POINTS,
    RESULT,
    ROWS,
    describe_result,
    headline,
    interval_of_result,
    read_result,
)
from pyrobust.evaluation.model_under_test import Subject
from pyrobust.evaluation.tracking import track_result
from pyrobust.evaluation.transcripts.recording import Attacked, make_transcript
from pyrobust.evaluation.transcripts.transcript import check_transcript_name
from pyrobust.files import (
    atomic_path,
    described_by,
    exclusive,
    read_json,
    result_folder,
    write_json,
    write_text,
)
from pyrobust.imports import import_path_of
from pyrobust.ops.device import choose_device

_COST = "cost.json"


@dataclass(frozen=True, repr=False)
class EvaluationResult:
    """What an evaluation found.

    Attributes:
        summary: what `evaluation.json` holds (docs/formats.md): accuracies by stage, settings,
            identity of model and images, checks.
        rows: one row per image (docs/formats.md).
        adversarial: (N, C, H, W) float32 on the CPU, the worst point of each image: one that is
            misclassified, if any was found. Empty where it was not kept.
        cost: seconds, images/s, memory, device and versions.
        subject: the model and the images, in the result of a call; None in one that was loaded.
    """

    summary: Mapping[str, Any]
    rows: pa.Table
    adversarial: Tensor
    cost: Mapping[str, Any]
    subject: Subject | None = field(default=None, compare=False)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read a folder that `save` or `pyrobust evaluate` wrote.

        Raises:
            UserError: it holds no evaluation, or a file is damaged.
        """
        path, made_by = Path(folder), "pyrobust evaluate"
        points = path / POINTS
        summary = read_result(path)
        with described_by(path / ROWS, made_by):
            rows = pq.read_table(path / ROWS)
        with described_by(points, made_by):
            kept = np.load(points, allow_pickle=False) if points.is_file() else np.empty(0, "f4")
        return cls(summary, rows, torch.from_numpy(kept), read_json(path / _COST, made_by))

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the files that `pyrobust evaluate` writes, except its page (`report`)."""
        path = Path(folder)
        with exclusive(path):
            with atomic_path(path / ROWS) as temporary:
                pq.write_table(self.rows, temporary)
            if len(self.adversarial):
                with atomic_path(path / POINTS) as temporary:
                    np.save(temporary, self.adversarial.numpy())
            else:
                (path / POINTS).unlink(missing_ok=True)
            write_json(path / _COST, dict(self.cost))
            write_json(path / RESULT, dict(self.summary))

    @property
    def num_images(self) -> int:
        """N."""
        return int(self.summary["num_images"])

    @property
    def clean_accuracy(self) -> float:
        """Share of images classified correctly, in [0, 1]."""
        return float(self.summary["clean_accuracy"])

    @property
    def robust_accuracy(self) -> float:
        """Share of images still classified correctly, in [0, 1]; of two cascades the lower."""
        return float(self.summary["worst"])

    @property
    def clean_interval(self) -> tuple[float, float]:
        """95% interval of the clean accuracy: Wilson's, or valid at any stop after a budget."""
        return interval_of_result(self.summary, self.clean_accuracy)

    @property
    def robust_interval(self) -> tuple[float, float]:
        """95% interval of the robust accuracy: Wilson's, or valid at any stop after a budget."""
        return interval_of_result(self.summary, self.robust_accuracy)

    @property
    def stages(self) -> list[dict[str, Any]]:
        """Each attack in order, with the robust accuracy after it."""
        return list(self.summary["stages"])

    @property
    def failed_checks(self) -> list[dict[str, Any]]:
        """Checks that say why this result may not be trusted; empty if none failed."""
        return [check for check in self.summary["checks"] if check["passed"] is False]

    def to_frame(self) -> Any:
        """Return `rows` as a pandas DataFrame.

        Raises:
            UserError: the package pandas is missing.
        """
        try:
            return self.rows.to_pandas()
        except ImportError as error:
            raise UserError(
                "to_frame needs the package pandas: pip install pandas, or use rows, a pyarrow "
                "table"
            ) from error

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write the result as one HTML page that needs no other file, and return its path."""
        from pyrobust.reporting.evaluation_page import evaluation_page

        write_text(Path(path), evaluation_page(self.summary))
        return Path(path)

    def transcript(self, path: str | os.PathLike[str]) -> Path:
        """Write the points that break images to a .safetensors file, and return its path.

        `pyrobust.verify` and `pyrobust verify` check it by one forward pass for each point.

        Raises:
            UserError: the result was loaded from a folder, or the points of AutoAttack, which
                left fewer images correct, were not kept.
        """
        target = Path(path)
        check_transcript_name(target)
        if self.subject is None:
            raise UserError(
                "a result that was loaded has no model and no images: evaluate again with "
                "transcript=FILE"
            )
        if self.summary["worst"] < self.summary["robust_accuracy"]:
            raise UserError(
                "AutoAttack left fewer images correct, and this result has the points of AA+MT: "
                "evaluate with transcript=FILE"
            )
        settings = parse_settings(EvaluationSettings, self.summary["settings"])
        attacked = Attacked(
            attack=str(self.summary["settings"]["attack"]),
            stages=[str(stage["attack"]) for stage in self.stages],
            ids=self.rows["image"].to_numpy(),
            clean_correct=self.rows["clean_correct"].to_numpy(),
            broken=self.rows["broken_by"].is_valid().to_numpy(),
            points=self.adversarial.numpy(),
        )
        make_transcript(self.subject, settings, attacked).write(target)
        return target

    def __repr__(self) -> str:
        """Return the headline, the checks that failed and the notes."""
        return "\n".join(describe_result(self.summary))

    def _repr_html_(self) -> str:
        """Return the headline, a chart of the stages and the checks, for a notebook."""
        from pyrobust.reporting.evaluation_page import stage_chart
        from pyrobust.reporting.figure_style import LIGHT, standalone

        failed = "".join(
            f"<li>check {escape(check['name'])} failed: {escape(check['seen'])}</li>"
            for check in self.failed_checks
        )
        return (
            f"<p><b>{escape(headline(self.summary))}</b></p>"
            f'<div style="max-width:34rem;background:{LIGHT["page"]}">'
            f"{standalone(stage_chart(self.summary))}</div><ul>{failed}</ul>"
        )


def evaluate(
    model: Model,
    images: Images,
    labels: Labels = None,
    *,
    norm: str,
    epsilon: str | float,
    attack: str | CustomAttack = "aa_mt",
    weights: str | Path | None = None,
    mean: float | Sequence[float] = (),
    std: float | Sequence[float] = (),
    num_images: int | None = None,
    seed: int = 0,
    device: str = "auto",
    output: str | os.PathLike[str] | None = None,
    transcript: str | os.PathLike[str] | None = None,
    trackers: str | Sequence[str] = (),
    budget: str | float | None = None,
    until_width: float | None = None,
    **settings: Any,
) -> EvaluationResult:
    """Attack a model and return its clean and robust accuracy, stage by stage and image by image.

    Args:
        model: see `pyrobust.load`. A module of yours is copied and stays as it is.
        images: (N, C, H, W), floating-point in [0, 1] or uint8; a DataLoader or data set of
            (image, label); a sample store, or the folder of a data set (its test split).
        labels: (N,) integers; None where `images` brings them.
        norm: linf, l2 or l1.
        epsilon: radius for pixels in [0, 1], such as "8/255" or 0.5.
        attack: aa_mt (the paper's, the strongest), autoattack (standard), fast (AutoAttack's two
            APGD stages), pgd40, or a function of your own or its MODULE:NAME (docs/extending.md).
        weights, mean, std: see `pyrobust.load`.
        num_images: attack only the first images.
        output: folder for the result and for the state that a killed call resumes from.
        transcript: .safetensors file for the points that break images, which `pyrobust.verify`
            checks.
        trackers: tensorboard, wandb, mlflow or trackio; they need `output`.
        budget: duration such as "30m", or seconds. Images are attacked in random order until
            then, and intervals are valid whenever the evaluation stops.
        until_width: the same, until the interval of robust accuracy is this narrow, in
            percentage points.
        settings: any other field of `EvaluationSettings` (docs/evaluation.md).

    Raises:
        UserError: names the argument, its value and what to change.
    """
    names = trackers_of(trackers, output)
    threat = parse_settings(ThreatSettings, {"norm": norm, "epsilon": epsilon_of(epsilon)})
    name = import_path_of(attack, "attack")
    given = {"attack": name, "num_images": num_images, "seed": seed, **settings}
    parsed = parse_settings(EvaluationSettings, given)
    check_evaluation(parsed, threat.norm)
    subject = Subject.open(
        model_source(model, weights, mean, std),
        labelled_images(images, labels, num_images),
        threat,
        str(choose_device(device)),
    )
    with result_folder(output) as folder:
        evaluation.evaluate(
            subject,
            folder,
            parsed,
            keep_adversarial=True,
            transcript=None if transcript is None else Path(transcript),
            limits=Limits.of(budget, until_width),
        )
        result = replace(EvaluationResult.load(folder), subject=subject)
        track_result(result.summary, folder, names)
        return result

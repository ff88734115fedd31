"""What became of a batch of images under a cascade; saved after every stage."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrobust import ops
from pyrobust.attacks import LogitsFn
from pyrobust.attacks.threat_model import PerturbationSet, predictions
from pyrobust.files import atomic_path, computed_again_if_damaged

# The value of `broken_by` where no stage broke an image.
UNBROKEN = -1


@dataclass
class Outcome:
    """Arrays with an entry for each of N images.

    Attributes:
        broken_by: number of the stage that broke the image, or UNBROKEN.
        adversarial_prediction: the class of the worst allowed point: the one that broke the
            image, else the one of the lowest margin.
        margin: z_y - max over i ≠ y of z_i at that point; misclassified below zero.
        perturbation_norm: the distance of that point, in float64.
        x_adv: that point, (N, C, H, W) float32; empty where points are not kept.
        refused: for each stage done, the misclassified points that were not allowed.
        seconds: spent on each stage done.
    """

    clean_prediction: NDArray[np.int64]
    clean_correct: NDArray[np.bool_]
    broken_by: NDArray[np.int64]
    adversarial_prediction: NDArray[np.int64]
    margin: NDArray[np.float32]
    perturbation_norm: NDArray[np.float64]
    x_adv: NDArray[np.float32]
    refused: NDArray[np.int64]
    seconds: NDArray[np.float64]

    @classmethod
    def before_attack(
        cls, logits_fn: LogitsFn, x: Tensor, labels: Tensor, keep_adversarial: bool
    ) -> Self:
        """Return what is known of images x (N, C, H, W) that nothing attacked yet."""
        prediction, margin = _judge(logits_fn, x, labels)
        return cls(
            clean_prediction=prediction.cpu().numpy(),
            clean_correct=(prediction == labels).cpu().numpy(),
            broken_by=np.full(len(x), UNBROKEN),
            # A copy: on the CPU both would be one array, and attacks change this one.
            adversarial_prediction=prediction.cpu().numpy().copy(),
            margin=margin.cpu().numpy(),
            perturbation_norm=np.zeros(len(x)),
            x_adv=(x if keep_adversarial else x[:0]).cpu().numpy().copy(),
            refused=np.zeros(0, dtype=np.int64),
            seconds=np.zeros(0),
        )

    @property
    def stages_done(self) -> int:
        """Number of stages that met these images."""
        return len(self.refused)

    @property
    def standing(self) -> NDArray[np.bool_]:
        """Which images are classified correctly so far, (N,)."""
        standing: NDArray[np.bool_] = self.clean_correct & (self.broken_by == UNBROKEN)
        return standing

    def judge(
        self,
        rows: NDArray[np.int64],
        logits_fn: LogitsFn,
        x: Tensor,
        labels: Tensor,
        x_adv: Tensor,
        threat: PerturbationSet,
        seconds: float,
    ) -> None:
        """Count the points that one more stage found, each only after it was checked.

        A point breaks its image if it lies in the ball and in [0, 1] in float64, and if the plain
        network misclassifies it.

        Args:
            rows: (n,), the standing images that were attacked.
            x, labels, x_adv: theirs.
        """
        stage = self.stages_done
        refused = 0
        if len(rows):
            prediction, margin = _judge(logits_fn, x_adv, labels)
            allowed = threat.contains(x_adv, x)
            wrong = torch.ne(prediction, labels)
            refused = int((wrong & ~allowed).sum())
            lower = margin < torch.from_numpy(self.margin[rows]).to(margin)
            worse = (allowed & (wrong | lower)).cpu().numpy()
            self.broken_by[rows[(allowed & wrong).cpu().numpy()]] = stage
            self.adversarial_prediction[rows[worse]] = prediction.cpu().numpy()[worse]
            self.margin[rows[worse]] = margin.cpu().numpy()[worse]
            distance = threat.distance(x_adv, x).cpu().numpy()
            self.perturbation_norm[rows[worse]] = distance[worse]
            if len(self.x_adv):
                self.x_adv[rows[worse]] = x_adv.cpu().numpy()[worse]
        self.refused = np.append(self.refused, refused)
        self.seconds = np.append(self.seconds, seconds)

    def at(self, places: NDArray[np.int64]) -> Self:
        """Return the outcome with its images in another order."""
        totals = {"refused", "seconds"}
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return type(self)(
            **{
                name: column if name in totals or not len(column) else column[places]
                for name, column in columns.items()
            }
        )

    def save(self, path: Path) -> None:
        """Write the arrays to an .npz file, atomically."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        with atomic_path(path) as temporary:
            np.savez(temporary, **arrays)

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """Read what `save` wrote; None if it is missing or, after a warning, damaged."""
        if not path.exists():
            return None
        with computed_again_if_damaged(path), np.load(path, allow_pickle=False) as arrays:
            return cls(**{field.name: arrays[field.name] for field in fields(cls)})
        return None

    @classmethod
    def joined(cls, outcomes: Iterable[Self]) -> Self:
        """Return the outcome of all images, in order; counts and seconds are added up."""
        parts = list(outcomes)
        columns = {
            field.name: [getattr(part, field.name) for part in parts] for field in fields(cls)
        }
        totals = {name: np.sum(columns.pop(name), axis=0) for name in ("refused", "seconds")}
        return cls(**{name: np.concatenate(column) for name, column in columns.items()}, **totals)


def names_of(places: NDArray[np.int64], names: Sequence[str]) -> pa.Array:
    """Return a column of the names at `places` (N,) of `names`; null where UNBROKEN."""
    found = [None if place == UNBROKEN else names[place] for place in places]
    return pa.array(found, type=pa.string())


def judge(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return predictions (N,) int64 and margins z_y - max over i ≠ y of z_i, (N,) float32.

    Logits (N, K) that are not finite predict no class, and their margin is -inf.
    """
    loss, _ = ops.margin(logits, labels)
    margin = torch.where(logits.isfinite().all(1), -loss, -torch.inf)
    return predictions(logits), margin


def _judge(logits_fn: LogitsFn, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        return judge(logits_fn(x), labels)

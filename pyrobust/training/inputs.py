"""The images that a run learns from, and the specification that fits them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pyrobust.data.dataset import Dataset
from pyrobust.data.store import SampleStore
from pyrobust.errors import UserError
from pyrobust.models import ModelSpec
from pyrobust.training.loader import Augmentation


@dataclass(frozen=True)
class TrainingInputs:
    """A data set and, where they are used, generated samples."""

    dataset: Dataset
    generated: SampleStore | None

    @classmethod
    def open(cls, dataset: Path, samples: Path | None = None) -> Self:
        """Open both.

        Raises:
            UserError: one is missing, or they do not fit each other.
        """
        inputs = cls(Dataset.open(dataset), None if samples is None else SampleStore.open(samples))
        inputs._check()
        return inputs

    def _check(self) -> None:
        if self.generated is None:
            return
        if not self.generated.labelled:
            raise UserError(
                f"{self.generated.path} has no labels: give samples that 'pyrobust select' wrote"
            )
        for what, theirs, ours in (
            ("image shape", self.generated.image_shape, self.dataset.image_shape),
            ("classes", self.generated.class_names, self.dataset.class_names),
        ):
            if theirs != ours:
                raise UserError(
                    f"the samples of {self.generated.path} have the {what} {theirs}, expected "
                    f"{ours} as in {self.dataset.path}: give samples of the same data set"
                )

    @property
    def augmentation(self) -> Augmentation:
        """Crop and flip of training images, original and generated."""
        return Augmentation(self.dataset.crop_padding, self.dataset.flip)

    def spec(self, architecture: str, activation: str) -> ModelSpec:
        """Return the specification of a network for these images."""
        dataset = self.dataset
        return ModelSpec(
            architecture,
            activation,
            dataset.num_classes,
            dataset.image_shape,
            dataset.mean,
            dataset.std,
        )

    def identity(self) -> dict[str, Any]:
        """Return the hashes of all images as JSON values."""
        return {
            "dataset": self.dataset.sha256,
            "samples": self.generated.sha256 if self.generated is not None else None,
        }

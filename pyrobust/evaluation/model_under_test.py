"""What is evaluated: a model, images with labels, and a perturbation set."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrobust.attacks import LogitsFn, ThreatModel
from pyrobust.config import parse_epsilon
from pyrobust.config.evaluation import ThreatSettings
from pyrobust.data import Dataset, SampleStore
from pyrobust.errors import UserError
from pyrobust.evaluation.model_sources import NetworkSource, open_network

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Subject:
    """A model in evaluation mode, without gradients of its parameters, and the images it meets."""

    logits_fn: LogitsFn
    num_classes: int
    store: SampleStore
    dataset: str
    split: str
    """A split of the data set, or samples."""
    labels: NDArray[np.int64]
    threat_settings: ThreatSettings
    device: str
    identity: dict[str, Any]
    """JSON values that tell this subject from any other."""
    surrogate_fn: LogitsFn | None = None
    """Another network for the same images, whose adversarial points are tried on this one."""

    @classmethod
    def open(
        cls,
        source: NetworkSource,
        dataset: Path,
        split: Split,
        threat: ThreatSettings,
        device: str,
        samples: Path | None = None,
        surrogate: NetworkSource | None = None,
    ) -> "Subject":
        """Read model and images.

        Args:
            dataset: the data set that the model was trained for.
            samples: sample store of the same kind, whose images are met in place of a split.
            surrogate: another network for these images (`check_masking`).

        Raises:
            UserError: one is missing or damaged, or the two do not fit.
        """
        images = Dataset.open(dataset)
        store: SampleStore = getattr(images, split)
        if samples is not None:
            store = SampleStore.open(samples)
            _check_alike(store, images)
        height, width, channels = images.image_shape
        image = torch.full((1, channels, height, width), 0.5, device=device)
        identity = {
            "images": store.sha256,
            "network": source.identity(),
            **threat.model_dump(mode="json"),
        }
        of_images = (image, images.num_classes, images.name)
        return cls(
            logits_fn=open_network(source, *of_images),
            num_classes=images.num_classes,
            store=store,
            labels=store.labels(),
            threat_settings=threat,
            device=device,
            identity=identity,
            dataset=images.name,
            split=split if samples is None else "samples",
            surrogate_fn=open_network(surrogate, *of_images) if surrogate else None,
        )

    @property
    def threat(self) -> ThreatModel:
        """The perturbation set, with its radius as a number."""
        settings = self.threat_settings
        return ThreatModel(settings.norm, parse_epsilon(settings.epsilon))

    def load(self, rows: range) -> tuple[Tensor, Tensor]:
        """Return images (n, C, H, W) float32 in [0, 1] and labels (n,) int64."""
        pixels = torch.from_numpy(self.store.gather(np.arange(rows.start, rows.stop)))
        x = pixels.to(self.device).permute(0, 3, 1, 2).contiguous().float() / 255
        return x, torch.from_numpy(self.labels[rows.start : rows.stop]).to(self.device)


def _check_alike(store: SampleStore, dataset: Dataset) -> None:
    for what in ("image_shape", "class_names"):
        mine, theirs = getattr(dataset, what), getattr(store, what)
        if mine != theirs:
            raise UserError(
                f"{what} of {store.path} is {theirs}, but {mine} in the data set: expected "
                "samples of a generator that was fitted on it"
            )

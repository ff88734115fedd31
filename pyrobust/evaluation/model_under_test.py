"""What is evaluated: a model, images with labels, and a perturbation set."""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from pyrobust.attacks import LogitsFn, ThreatModel
from pyrobust.config import parse_epsilon
from pyrobust.config.evaluation import ThreatSettings
from pyrobust.config.radius import check_radius
from pyrobust.data.store import check_labels
from pyrobust.evaluation.labelled_images import LabelledImages, Rows
from pyrobust.evaluation.model_sources import ModelSource, open_model
from pyrobust.models.files import sha256_of_state


@dataclass(frozen=True)
class Subject:
    """A model in evaluation mode, without gradients of its parameters, and its images."""

    logits_fn: LogitsFn
    num_classes: int
    images: LabelledImages
    threat_settings: ThreatSettings
    device: str
    identity: dict[str, Any]
    """JSON values that change with the images, the model's files and the perturbation set."""
    surrogate_fn: LogitsFn | None = None
    """Another network for the same images, whose adversarial points are tried on this one."""

    @classmethod
    def open(
        cls,
        source: ModelSource,
        images: LabelledImages,
        threat: ThreatSettings,
        device: str,
        surrogate: ModelSource | None = None,
    ) -> Self:
        """Open a model for these images.

        Args:
            surrogate: another network for these images (`check_masking`).

        Raises:
            UserError: the model is missing or damaged, or the two do not fit.
        """
        check_radius(threat.norm, threat.epsilon, images.image_shape)
        height, width, channels = images.image_shape
        image = torch.full((1, channels, height, width), 0.5, device=device)
        model = open_model(source, image, images.num_classes, images.name)
        check_labels(images.labels, model.num_classes, "the labels")
        other = open_model(surrogate, image, model.num_classes, images.name) if surrogate else None
        network = source.identity()
        if not network["sha256"]:  # a downloaded model: its weights say which
            network["sha256"] = [sha256_of_state(model.network)]
        return cls(
            logits_fn=model,
            num_classes=model.num_classes,
            images=images,
            threat_settings=threat,
            device=device,
            identity={
                "images": images.sha256,
                "network": network,
                **threat.model_dump(mode="json"),
            },
            surrogate_fn=other,
        )

    @property
    def threat(self) -> ThreatModel:
        """The perturbation set, with its radius as a number."""
        settings = self.threat_settings
        return ThreatModel(settings.norm, parse_epsilon(settings.epsilon))

    def batches(self, num_images: int | None, batch_size: int) -> tuple[int, list[range]]:
        """Return how many images an evaluation of the first ones takes, and their batches."""
        count = min(num_images or self.images.count, self.images.count)
        starts = range(0, count, batch_size)
        return count, [range(start, min(start + batch_size, count)) for start in starts]

    def load(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return images (n, C, H, W) float32 in [0, 1] and labels (n,) int64."""
        return self.images.load(rows, self.device)

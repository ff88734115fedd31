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
from pyrobust.files import sha256_of
from pyrobust.models import load_model

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Subject:
    """A model in evaluation mode, without gradients of its parameters, and the images it meets."""

    logits_fn: LogitsFn
    num_classes: int
    store: SampleStore
    labels: NDArray[np.int64]
    threat_settings: ThreatSettings
    device: str
    identity: dict[str, Any]
    """JSON values that tell this subject from any other."""

    @classmethod
    def open(
        cls, model: Path, dataset: Path, split: Split, threat: ThreatSettings, device: str
    ) -> "Subject":
        """Read model and data set.

        Raises:
            UserError: one is missing or damaged, or the two do not fit.
        """
        images = Dataset.open(dataset)
        network, spec = load_model(model, device)
        for name in ("image_shape", "num_classes"):
            theirs, ours = getattr(spec, name), getattr(images, name)
            if theirs != ours:
                raise UserError(
                    f"{name} of {model} is {theirs}, but {ours} in {dataset}: evaluate a model "
                    "on the data set it was made for"
                )
        store: SampleStore = getattr(images, split)
        identity = {
            "model": sha256_of(model),
            "images": store.sha256,
            **threat.model_dump(mode="json"),
        }
        network.requires_grad_(False)
        return cls(network, spec.num_classes, store, store.labels(), threat, device, identity)

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

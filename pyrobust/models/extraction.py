"""Networks that give features and logits of images, in batches of one shape."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrobust.errors import UserError
from pyrobust.files import sha256_of
from pyrobust.models.files import load_model
from pyrobust.models.spec import ModelSpec
from pyrobust.ops.precision import exact_kernels

# uint8 images (B, C, H, W) -> features (B, D) and logits (B, K), or no logits.
Compute = Callable[[Tensor], tuple[Tensor, Tensor | None]]

# Part of the result: kernels are chosen by the shape of the batch and round each in its own way.
_CLASSIFIER_BATCH = 256


@dataclass(frozen=True)
class Extractor:
    """A network that turns images into features, and where it comes from."""

    name: str
    weights_sha256: str
    batch_size: int
    device: torch.device
    compute: Compute

    @property
    def description(self) -> dict[str, Any]:
        """What decides the features, apart from the images."""
        return {"name": self.name, "weights_sha256": self.weights_sha256}

    def __call__(self, images: np.ndarray, place: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
        """Return features (N, D) and logits (N, K), or None for the latter, in float32.

        Args:
            images: (N, H, W, C) uint8; `place` + N is at most `batch_size`. A
                smaller batch is filled up with black, so that all have one shape.
            place: of the first image in its batch.
        """
        batch = np.zeros((self.batch_size, *images.shape[1:]), np.uint8)
        here = slice(place, place + len(images))
        batch[here] = images
        x = torch.from_numpy(batch).to(self.device).permute(0, 3, 1, 2).contiguous()
        # TensorFloat-32 changes an FID in its third digit.
        with torch.inference_mode(), exact_kernels():
            features, logits = self.compute(x)
        return _rows(features, here), None if logits is None else _rows(logits, here)


def classifier_extractor(path: Path, device: torch.device) -> tuple[Extractor, ModelSpec]:
    """Return the penultimate layer and the logits of a classifier, and what it is.

    Raises:
        UserError: `path` is not a classifier.
    """
    model, spec = load_model(path, device)

    def compute(images: Tensor) -> tuple[Tensor, Tensor]:
        features = model.features(images.float() / 255)
        return features, model.logits(features)

    return Extractor("labeller", sha256_of(path), _CLASSIFIER_BATCH, device, compute), spec


def named_file(extractor: str, option: str, path: str | None, remedy: str) -> Path:
    """Return the path of a file that an extractor requires.

    Raises:
        UserError: no file is named, or it is missing; says what to do.
    """
    if path is None or not Path(path).is_file():
        found = "no file is named" if path is None else f"{path} is missing"
        raise UserError(f"extractor {extractor} requires {option} FILE, but {found}; {remedy}")
    return Path(path)


def as_rgb(images: Tensor) -> Tensor:
    """Return (B, 3, H, W); the one channel of grey images is repeated."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def _rows(values: Tensor, rows: slice) -> np.ndarray:
    array: np.ndarray = values[rows].float().cpu().numpy()
    return array

"""Pseudo-labels (section 3.3): the labeller's class and confidence for each generated image."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyrobust.cost import write_cost
from pyrobust.data.labels import LabelWriter
from pyrobust.data.store import ImageShape, SampleStore
from pyrobust.errors import UserError
from pyrobust.files import sha256_of
from pyrobust.models import ImageClassifier, load_model
from pyrobust.progress import counting

MODEL = "model.safetensors"

# Part of the result: kernels are chosen by the shape of the batch and round each in its own way.
_BATCH = 256


class Labeller:
    """A non-robust classifier that labels images in batches of one shape."""

    def __init__(self, model: ImageClassifier, sha256: str, device: str) -> None:
        self.sha256 = sha256
        self.device = device
        self._model = model

    @classmethod
    def load(
        cls, folder: Path, image_shape: ImageShape, num_classes: int, device: str
    ) -> "Labeller":
        """Read the model that `pyrobust train-labeller` wrote to `folder`.

        Raises:
            UserError: it is missing, or was trained on images of another shape or other classes.
        """
        path = folder / MODEL
        if not path.is_file():
            raise UserError(f"{path} is missing: 'pyrobust train-labeller' writes it")
        model, spec = load_model(path, device)
        if (spec.image_shape, spec.num_classes) != (image_shape, num_classes):
            raise UserError(
                f"{path} is for images of {spec.image_shape} and {spec.num_classes} classes, but "
                f"the samples have {image_shape} and {num_classes}: train a labeller on the same "
                "data set by 'pyrobust train-labeller'"
            )
        return cls(model, sha256_of(path), device)

    def provenance(self, store: SampleStore) -> dict[str, Any]:
        """Return what decides the pseudo-labels of `store`."""
        return {"samples_sha256": store.sha256, "labeller_sha256": self.sha256}

    def label(self, store: SampleStore, output: Path) -> None:
        """Write label and score of every image of `store`; a killed run goes on."""
        started = time.monotonic()
        writer = LabelWriter(
            output,
            store.class_names,
            store.count,
            store.first_id,
            self.provenance(store),
            conditional=store.labelled,
        )
        conditions = store.labels() if store.labelled else None
        done = writer.count
        with counting(store.count, "label", "images", done=done) as advance:
            while writer.count < store.count:
                row = writer.count
                # An image has the same place in its batch however ids are cut into parts.
                place = (store.first_id + row) % _BATCH
                last = min(row + _BATCH - place, store.count)
                probs = self._probs(store.gather(np.arange(row, last)), place)
                labels = probs.argmax(axis=1)
                asked = None if conditions is None else _of(probs, conditions[row:last])
                writer.append(labels, _of(probs, labels), asked)
                advance(last - row)
        writer.finish()
        if done < store.count:
            seconds = time.monotonic() - started
            rate = (store.count - done) / seconds
            write_cost(output / "cost.json", seconds, self.device, rate)

    def _probs(self, images: np.ndarray, place: int) -> np.ndarray:
        """Return probabilities (N, K) float64 of at most one batch, the first image at `place`."""
        batch = np.zeros((_BATCH, *images.shape[1:]), np.uint8)
        batch[place : place + len(images)] = images
        x = torch.from_numpy(batch).to(self.device).permute(0, 3, 1, 2).contiguous()
        with (
            torch.inference_mode(),
            torch.backends.cudnn.flags(
                enabled=True, benchmark=False, deterministic=True, allow_tf32=False
            ),
        ):
            logits = self._model(x.float() / 255)[place : place + len(images)]
        values = logits.double().cpu().numpy()
        if not np.isfinite(values).all():
            raise UserError(
                "the labeller gives logits that are not finite: train it again by "
                "'pyrobust train-labeller'"
            )
        exponentials = np.exp(values - values.max(axis=1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def _of(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the probability of each row's label, (N,) float32."""
    rows = np.arange(len(labels))
    return np.asarray(probs[rows, labels], np.float32)


def label_part(samples: Path, labeller_folder: Path, output: Path, device: str) -> None:
    """Label one part of the samples.

    Raises:
        UserError: the part or the labeller is missing, damaged, or they do not fit.
    """
    store = SampleStore.open(samples)
    labeller = Labeller.load(labeller_folder, store.image_shape, len(store.class_names), device)
    labeller.label(store, output)

"""Pseudo-labels (section 3.3): how a generated image gets its label.

`Labeller` gives each image a class and a confidence. `assign_labels` decides which class the image
has in training: that one, or the class that the generator was asked for.
"""

import time
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from scipy.special import softmax

from pyrobust.cost import write_cost
from pyrobust.data.labels import LabelStore, LabelWriter
from pyrobust.data.store import ImageShape, SampleStore
from pyrobust.errors import UserError
from pyrobust.models.extraction import Extractor, classifier_extractor
from pyrobust.models.files import WEIGHTS
from pyrobust.progress import counting

LabelSource = Literal["labeller", "condition"]


def assign_labels(
    samples: SampleStore, predictions: LabelStore, source: LabelSource
) -> tuple[np.ndarray, np.ndarray]:
    """Return the label that each sample has in training, and its score.

    Args:
        samples: of a conditional generator where the source is `condition`.
        predictions: what a labeller wrote about these samples.
        source: `labeller`, as in the paper: the class that the labeller finds most probable.
            `condition`: the class that the generator was asked for.

    Returns:
        Labels (N,) int64, and the labeller's probabilities of these labels (N,) float32, by which
        samples are selected.
    """
    if source == "condition":
        return samples.labels(), predictions.condition_scores()
    return predictions.labels(), predictions.scores()


class FeaturePass(Protocol):
    """Keeps features of the images that labelling reads."""

    def start(self, store: SampleStore, labeller: Extractor) -> int:
        """Return the number of images of `store` with features from an earlier run."""

    def add(
        self,
        row: int,
        images: np.ndarray,
        labels: np.ndarray,
        extracted: tuple[np.ndarray, np.ndarray],
    ) -> None:
        """Keep the features of consecutive images, the first at `row`, unless already kept.

        Args:
            extracted: the labeller's own features and logits.
        """

    def finish(self) -> None:
        """Complete the features."""


class Labeller:
    """A non-robust classifier that labels images in batches of one shape."""

    def __init__(self, extractor: Extractor) -> None:
        self.sha256 = extractor.weights_sha256
        self.device = str(extractor.device)
        self._extractor = extractor

    @classmethod
    def load(
        cls, folder: Path, image_shape: ImageShape, num_classes: int, device: str
    ) -> "Labeller":
        """Read the model that `pyrobust train-labeller` wrote to `folder`.

        Raises:
            UserError: it is missing, or was trained on images of another shape or other classes.
        """
        path = folder / WEIGHTS
        if not path.is_file():
            raise UserError(f"{path} is missing; run 'pyrobust train-labeller' to write it")
        extractor, spec = classifier_extractor(path, torch.device(device))
        if (spec.image_shape, spec.num_classes) != (image_shape, num_classes):
            raise UserError(
                f"{path} takes images of shape {spec.image_shape} and has {spec.num_classes} "
                f"classes, but the samples have {image_shape} and {num_classes}; train a "
                "labeller on the same data set with 'pyrobust train-labeller'"
            )
        return cls(extractor)

    def provenance(self, store: SampleStore) -> dict[str, Any]:
        """Return what decides the pseudo-labels of `store`."""
        return {"samples_sha256": store.sha256, "labeller_sha256": self.sha256}

    def label(self, store: SampleStore, output: Path, features: FeaturePass | None = None) -> None:
        """Write label and score of every image of `store`; a killed run resumes.

        Args:
            features: computes features of the images while they are read.
        """
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
        done = row = writer.count
        if features is not None:
            done = row = min(done, features.start(store, self._extractor))
        batch = self._extractor.batch_size
        with counting(store.count, "label", "images", done=done) as advance:
            while row < store.count:
                # An image has the same place in its batch however ids are cut into parts.
                place = (store.first_id + row) % batch
                last = min(row + batch - place, store.count)
                images = store.gather(np.arange(row, last))
                values, logits = self._extract(images, place)
                probs = softmax(logits.astype(np.float64), axis=1)
                labels = probs.argmax(axis=1)
                scores = _of(probs, labels)
                asked = None if conditions is None else _of(probs, conditions[row:last])
                new = slice(writer.count - row, None)  # the features may lag behind
                writer.append(labels[new], scores[new], None if asked is None else asked[new])
                if features is not None:
                    features.add(row, images, labels, (values, logits))
                advance(last - row)
                row = last
        writer.finish()
        if features is not None:
            features.finish()
        if done < store.count:
            seconds = time.monotonic() - started
            rate = (store.count - done) / seconds
            write_cost(output / "cost.json", seconds, self.device, rate)

    def _extract(self, images: np.ndarray, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Return features (N, D) and logits (N, K) of at most one batch."""
        features, logits = self._extractor(images, place)
        if logits is None or not np.isfinite(logits).all():
            raise UserError(
                "the labeller's logits are not finite; train it again with 'pyrobust "
                "train-labeller'"
            )
        return features, logits


def _of(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the probability of each row's label, (N,) float32."""
    rows = np.arange(len(labels))
    return np.asarray(probs[rows, labels], np.float32)


def label_part(
    samples: Path,
    labeller_folder: Path,
    output: Path,
    device: str,
    features: FeaturePass | None = None,
) -> None:
    """Label one part of the samples, and keep features of them where asked.

    Raises:
        UserError: the part or the labeller is missing, damaged, or they do not fit.
    """
    store = SampleStore.open(samples)
    labeller = Labeller.load(labeller_folder, store.image_shape, len(store.class_names), device)
    labeller.label(store, output, features)

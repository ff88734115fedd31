"""Features that are kept while samples are labelled, and found again by the ids of the samples."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pyrobust.config.analysis import ExtractorSettings
from pyrobust.data.feature_set import FEATURES, FeatureSet, FeatureWriter
from pyrobust.data.store import SampleStore
from pyrobust.errors import UserError
from pyrobust.models.extraction import Extractor

logger = logging.getLogger(__name__)


class PartFeatures:
    """Writes the features of one part of the samples as labelling reads its images.

    Their labels are the pseudo-labels. Where the extractor is the labeller itself, no image
    passes it twice.
    """

    def __init__(self, extractor: Extractor, output: Path, settings: ExtractorSettings) -> None:
        self._extractor = extractor
        self._output = output
        self._settings = settings

    def start(self, store: SampleStore, labeller: Extractor) -> int:
        """Return how many images of `store` have features from an earlier run."""
        features, logits = in_batches(self._extractor, store.gather(np.arange(0)))
        self._is_labeller = self._extractor.description == labeller.description
        self._writer = FeatureWriter(
            self._output,
            total=store.count,
            dimensions=features.shape[1],
            num_logits=0 if logits is None else logits.shape[1],
            class_names=store.class_names,
            labelled=True,
            dtype=self._settings.dtype,
            batch_size=self._extractor.batch_size,
            provenance={
                "extractor": self._extractor.description,
                "stores": [store.sha256],
                "part": {"first_id": store.first_id, "samples": store.provenance},
                "labeller_sha256": labeller.weights_sha256,
            },
        )
        return self._writer.count

    def add(
        self,
        row: int,
        images: np.ndarray,
        labels: np.ndarray,
        extracted: tuple[np.ndarray, np.ndarray],
    ) -> None:
        """Keep the features of consecutive images, the first at `row`, unless they are there.

        Raises:
            UserError: a feature is not finite, or not in the type that they are stored in.
        """
        new = slice(self._writer.count - row, None)
        rows = np.arange(row, row + len(images))[new]
        if not rows.size:
            return
        features: np.ndarray
        logits: np.ndarray | None
        if self._is_labeller:
            features, logits = (values[new] for values in extracted)
        else:
            features, logits = in_batches(self._extractor, images[new])
        self._writer.append(features, rows, logits, labels[new])

    def finish(self) -> None:
        """Write `features.json`."""
        self._writer.finish()


class KnownFeatures:
    """Features of samples, found by id in those of the parts.

    Parts whose features are others' stay unused, which costs a pass and changes no result.

    Args:
        folder: holds one folder for each part.
        stores: hold samples of the same generator.

    Raises:
        UserError: no part has features of this extractor, in this type and of these samples.
    """

    def __init__(
        self, folder: Path, extractor: Extractor, dtype: str, stores: Sequence[SampleStore]
    ) -> None:
        parts = []
        for path in folder.glob(f"*/{FEATURES}"):
            features = FeatureSet.open(path.parent)
            made_by = (features.extractor, features.dtype)
            if made_by == (extractor.description, dtype) and _are_of(features, stores):
                parts.append((int(features.part["first_id"]), features))
            else:
                logger.warning(
                    "%s has features of other samples, or of another extractor or type; "
                    "computing them again",
                    path.parent,
                )
        if not parts:
            raise UserError(
                f"{folder} has no {dtype} features of {extractor.name} "
                f"({extractor.weights_sha256[:8]}) for samples such as {stores[0].path}; run "
                "'pyrobust label --features' with the same --extractor and --dtype to write "
                "them"
            )
        parts.sort(key=lambda part: part[0])
        self._sets = [features for _, features in parts]
        self._starts = np.array([first_id for first_id, _ in parts])
        self._ends = self._starts + [features.count for features in self._sets]

    def has(self, ids: np.ndarray) -> np.ndarray:
        """Return which of these samples have features, (N,) bool."""
        part = np.searchsorted(self._starts, ids, side="right") - 1
        found: np.ndarray = (part >= 0) & (ids < self._ends[part])
        return found

    def gather(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return features (N, D) and logits (N, K) of samples that have them, in float32."""
        first = self._sets[0]
        features = np.empty((len(ids), first.dimensions), np.float32)
        logits = np.empty((len(ids), first.num_logits), np.float32)
        part = np.searchsorted(self._starts, ids, side="right") - 1
        for number in np.unique(part).tolist():
            here = np.flatnonzero(part == number)
            rows = ids[here] - self._starts[number]
            features[here] = self._sets[number].features(rows)
            if first.num_logits:
                logits[here] = self._sets[number].logits(rows)
        return features, logits if first.num_logits else None


def _are_of(features: FeatureSet, stores: Sequence[SampleStore]) -> bool:
    """Return whether the samples of all stores come from the generator of this part."""
    samples = features.part.get("samples", {}).items()
    return bool(samples) and all(store.provenance.items() >= samples for store in stores)


def in_batches(extractor: Extractor, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return features (N, D) and logits (N, K), or None for the latter, of any number of images."""
    size = extractor.batch_size
    # Even an empty batch takes a pass, which determines D and K.
    starts = range(0, max(1, len(images)), size)
    found = [extractor(images[first : first + size]) for first in starts]
    logits = [some for _, some in found if some is not None]
    return np.concatenate([some for some, _ in found]), np.concatenate(logits) if logits else None

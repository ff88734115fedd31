"""The features stage: images of stores through an extractor, into a feature set."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pyrobust.analysis.image_subsets import stratified_subset
from pyrobust.analysis.part_features import KnownFeatures, in_batches
from pyrobust.config.analysis import FeatureSettings
from pyrobust.cost import write_cost
from pyrobust.data.feature_set import FeatureWriter
from pyrobust.data.store import SampleStore, label_type
from pyrobust.errors import UserError
from pyrobust.models.extraction import Extractor
from pyrobust.progress import counting

logger = logging.getLogger(__name__)

# Bytes of features that are looked up at a time. Each lookup touches every part, so a few large
# ones take far less time than many small ones.
_LOOKUP_BYTES = 1 << 28


def extract_features(
    stores: Sequence[SampleStore],
    extractor: Extractor,
    output: Path,
    settings: FeatureSettings,
    known: Path | None = None,
) -> None:
    """Write the features of a draw of the stores' images; an interrupted run resumes.

    Args:
        stores: read as one, in this order.
        known: folder of the parts' features, which are copied; no result changes.

    Raises:
        UserError: the stores do not fit together, or a feature is not finite.
    """
    started = time.monotonic()
    images = _JoinedStores(stores)
    rows = _draw(images, settings)
    parts = None if known is None else KnownFeatures(known, extractor, settings.dtype, stores)
    batch = extractor.batch_size
    features, logits = extractor(images.gather(rows[:1]))
    writer = FeatureWriter(
        output,
        total=len(rows),
        dimensions=features.shape[1],
        num_logits=0 if logits is None else logits.shape[1],
        class_names=images.class_names,
        labelled=images.labels is not None,
        dtype=settings.dtype,
        batch_size=batch,
        provenance={
            "extractor": extractor.description,
            "stores": [store.sha256 for store in stores],
            "num_images": settings.num_images,
            "seed": settings.seed,
        },
    )
    done = writer.count
    if done:
        logger.info(f"resuming: {done:,} of {len(rows):,} images are complete")
    with counting(len(rows), f"features ({extractor.name})", "images", done) as advance:
        lookup = _LOOKUP_BYTES // (4 * features.shape[1])
        size = batch if parts is None else max(1, lookup // batch) * batch
        for first in range(done, len(rows), size):
            drawn = rows[first : first + size]
            features, logits = _extract(images, drawn, extractor, parts)
            labels = None if images.labels is None else images.labels[drawn].astype(np.int64)
            writer.append(features, drawn, logits, labels)
            advance(len(drawn))
    writer.finish()
    if done < len(rows):
        seconds = time.monotonic() - started
        rate = (len(rows) - done) / seconds
        write_cost(output / "cost.json", seconds, str(extractor.device), rate)


def _extract(
    images: "_JoinedStores", rows: np.ndarray, extractor: Extractor, known: KnownFeatures | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return features and logits of the images at `rows`; those that are known are copied."""
    if known is None:
        return in_batches(extractor, images.gather(rows))
    ids = images.ids(rows)
    there = known.has(ids)
    copied = known.gather(ids[there])
    # Samples that the selection drew itself.
    computed = in_batches(extractor, images.gather(rows[~there]))
    features = _joined(there, copied[0], computed[0])
    if copied[1] is None or computed[1] is None:
        return features, None
    return features, _joined(there, copied[1], computed[1])


def _joined(there: np.ndarray, copied: np.ndarray, computed: np.ndarray) -> np.ndarray:
    rows = np.empty((len(there), copied.shape[1]), np.float32)
    rows[there], rows[~there] = copied, computed
    return rows


def _draw(images: "_JoinedStores", settings: FeatureSettings) -> np.ndarray:
    labels = images.labels if images.labels is not None else np.zeros(images.count, np.uint8)
    return stratified_subset(labels, settings.num_images, settings.seed)


class _JoinedStores:
    """Several stores read as one."""

    def __init__(self, stores: Sequence[SampleStore]) -> None:
        first = stores[0]
        for store in stores[1:]:
            for what in ("image_shape", "class_names", "labelled"):
                if getattr(store, what) != getattr(first, what):
                    raise UserError(
                        f"{store.path} has {what} {getattr(store, what)}, but {first.path} has "
                        f"{getattr(first, what)}"
                    )
        self._stores = list(stores)
        self._starts = np.cumsum([0, *(store.count for store in stores)])
        self.count = int(self._starts[-1])
        self.class_names = first.class_names
        self.labels = self._narrow_labels() if first.labelled else None
        if not self.count:
            raise UserError(f"{first.path} contains no images")

    def _narrow_labels(self) -> np.ndarray:
        """Return all labels, (count,) uint8, or uint16 with more than 256 classes."""
        labels = np.empty(self.count, label_type(len(self.class_names)))
        for store, first in zip(self._stores, self._starts.tolist(), strict=False):
            labels[first : first + store.count] = store.labels(labels.dtype)
        return labels

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """Return the images at ascending `rows`, (len(rows), H, W, C)."""
        bounds = np.searchsorted(rows, self._starts)
        return np.concatenate(
            [
                store.gather(rows[bounds[i] : bounds[i + 1]] - self._starts[i])
                for i, store in enumerate(self._stores)
            ]
        )

    def ids(self, rows: np.ndarray) -> np.ndarray:
        """Return the ids of the images at ascending `rows`, (len(rows),) int64."""
        bounds = np.searchsorted(rows, self._starts)
        return np.concatenate(
            [
                store.ids(rows[bounds[i] : bounds[i + 1]] - self._starts[i])
                for i, store in enumerate(self._stores)
            ]
        )

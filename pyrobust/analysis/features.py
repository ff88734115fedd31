"""The features stage: images of stores through an extractor, into a feature set."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pyrobust.analysis.extractors import Extractor
from pyrobust.analysis.subsets import stratified_subset
from pyrobust.config.analysis import FeatureSettings
from pyrobust.cost import write_cost
from pyrobust.data.feature_set import FeatureWriter
from pyrobust.data.store import SampleStore
from pyrobust.errors import UserError
from pyrobust.progress import counting

logger = logging.getLogger(__name__)


def extract_features(
    stores: Sequence[SampleStore], extractor: Extractor, output: Path, settings: FeatureSettings
) -> None:
    """Write the features of a draw of the stores' images, and go on where a run was killed.

    Args:
        stores: read as one, in this order.

    Raises:
        UserError: the stores do not fit together, or a feature is not finite.
    """
    started = time.monotonic()
    images = _JoinedStores(stores)
    rows = _draw(images, settings)
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
        logger.info(f"{done:,} of {len(rows):,} images are there from an earlier run")
    with counting(len(rows), f"features ({extractor.name})", "images", done) as advance:
        for first in range(done, len(rows), batch):
            drawn = rows[first : first + batch]
            features, logits = extractor(images.gather(drawn))
            columns = {"features": _stored(features, settings, extractor.name, drawn)}
            columns["rows"] = drawn
            if logits is not None:
                columns["logits"] = logits
            if images.labels is not None:
                columns["labels"] = images.labels[drawn]
            writer.append(**columns)
            advance(len(drawn))
    writer.finish()
    seconds = time.monotonic() - started
    rate = (len(rows) - done) / seconds
    write_cost(output / "cost.json", seconds, str(extractor.device), rate)


def _stored(
    features: np.ndarray, settings: FeatureSettings, extractor: str, drawn: np.ndarray
) -> np.ndarray:
    """Return the features in the type that they are stored in.

    Raises:
        UserError: a feature is not finite, or not in that type.
    """
    with np.errstate(over="ignore"):
        stored = features.astype(settings.dtype, copy=False)
    wrong = np.flatnonzero(~np.isfinite(stored).all(axis=1))
    if wrong.size and np.isfinite(features).all():
        raise UserError(
            f"the {extractor}'s features of image {drawn[wrong[0]]} reach "
            f"{np.abs(features[wrong[0]]).max():g}, float16 ends at 65,504: name --dtype float32"
        )
    if wrong.size:
        raise UserError(
            f"the {extractor}'s features of image {drawn[wrong[0]]} hold NaN or infinity, "
            "expected numbers: are its weights those of a finished training?"
        )
    return stored


def _draw(images: "_JoinedStores", settings: FeatureSettings) -> np.ndarray:
    labels = images.labels if images.labels is not None else np.zeros(images.count, np.int64)
    return stratified_subset(labels, settings.num_images, settings.seed)


class _JoinedStores:
    """Several stores read as one."""

    def __init__(self, stores: Sequence[SampleStore]) -> None:
        first = stores[0]
        for store in stores[1:]:
            for what in ("image_shape", "class_names", "labelled"):
                if getattr(store, what) != getattr(first, what):
                    raise UserError(
                        f"{store.path} has {what} {getattr(store, what)}, expected "
                        f"{getattr(first, what)} as in {first.path}"
                    )
        self._stores = list(stores)
        self._starts = np.cumsum([0, *(store.count for store in stores)])
        self.count = int(self._starts[-1])
        self.class_names = first.class_names
        self.labels = (
            np.concatenate([store.labels() for store in stores]) if first.labelled else None
        )
        if not self.count:
            raise UserError(f"{first.path} holds no image, expected at least one")

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """Return the images at ascending `rows`, (len(rows), H, W, C)."""
        bounds = np.searchsorted(rows, self._starts)
        return np.concatenate(
            [
                store.gather(rows[bounds[i] : bounds[i + 1]] - self._starts[i])
                for i, store in enumerate(self._stores)
                if bounds[i] < bounds[i + 1]
            ]
        )

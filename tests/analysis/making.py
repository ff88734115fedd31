"""Small stores and feature sets for the tests of this folder."""

from pathlib import Path

import numpy as np

from pyrobust.cli import app
from pyrobust.data.feature_set import FeatureSet, FeatureWriter
from pyrobust.data.store import SampleStore, StoreWriter

CLASS_NAMES = ("cat", "dog")


def run_verb(verb: str, **options: object) -> None:
    """Run `pyrobust VERB --option value ...` in this process."""
    words = [verb]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    app(words, standalone_mode=False)


def make_store(
    path: Path,
    count: int,
    seed: int = 0,
    labelled: bool = True,
    image_shape: tuple[int, int, int] = (8, 8, 3),
    class_names: tuple[str, ...] = CLASS_NAMES,
) -> SampleStore:
    random = np.random.default_rng(seed)
    writer = StoreWriter(
        path, image_shape, class_names, count, {"seed": seed}, "a test", labelled, shard_size=37
    )
    writer.append(
        random.integers(0, 256, (count, *image_shape), dtype=np.uint8),
        random.integers(0, len(class_names), count) if labelled else None,
    )
    writer.finish()
    return SampleStore.open(path)


def make_features(
    path: Path,
    features: np.ndarray,
    labels: np.ndarray | None = None,
    logits: np.ndarray | None = None,
    extractor: str = "labeller",
    weights_sha256: str = "0" * 64,
    class_names: tuple[str, ...] = CLASS_NAMES,
    dtype: str = "float32",
) -> FeatureSet:
    writer = FeatureWriter(
        path,
        len(features),
        features.shape[1],
        0 if logits is None else logits.shape[1],
        class_names,
        labelled=labels is not None,
        dtype=dtype,
        batch_size=16,
        provenance={"extractor": {"name": extractor, "weights_sha256": weights_sha256}},
    )
    columns = {"features": features.astype(dtype), "rows": 1000 + np.arange(len(features))}
    if labels is not None:
        columns["labels"] = labels.astype(np.int64)
    if logits is not None:
        columns["logits"] = logits.astype(np.float32)
    writer.append(**columns)
    writer.finish()
    return FeatureSet.open(path)

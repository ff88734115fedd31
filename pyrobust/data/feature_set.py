"""Feature sets: what an extractor makes of the images of a store (docs/formats.md)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyrobust.data.shards import Column, ShardReader, ShardWriter
from pyrobust.errors import UserError
from pyrobust.files import read_json

FEATURES = "features.json"
FORMAT = "pyrobust-features"
VERSION = 2
_MADE_BY = "pyrobust features"

# 64 MiB of features: small enough to lose to a kill and to hold while it is written.
_SHARD_BYTES = 1 << 26


class FeatureWriter:
    """Writes a feature set; a later writer with equal arguments goes on where it was killed.

    Args:
        total: images that the set will hold.
        dimensions: values of one image.
        num_logits: logits of one image, 0 where the extractor is no classifier.
        dtype: type that features are stored in, float32 or float16.
        batch_size: images that are always extracted together; shards hold whole batches.
        provenance: the extractor, its weights, the stores and the draw of the images.
    """

    def __init__(
        self,
        path: Path,
        total: int,
        dimensions: int,
        num_logits: int,
        class_names: Sequence[str],
        labelled: bool,
        dtype: str,
        batch_size: int,
        provenance: Mapping[str, Any],
    ) -> None:
        self._head = {
            "format": FORMAT,
            "version": VERSION,
            "dimensions": dimensions,
            "num_logits": num_logits,
            "dtype": dtype,
            "class_names": list(class_names),
            "labelled": labelled,
            **provenance,
        }
        row_bytes = np.dtype(dtype).itemsize * dimensions + 4 * num_logits
        batches = max(1, _SHARD_BYTES // (row_bytes * batch_size))
        self._writer = ShardWriter(
            path,
            FEATURES,
            _columns(dimensions, num_logits, labelled, dtype),
            total,
            batches * batch_size,
            {**self._head, "batch_size": batch_size},
        )

    @property
    def count(self) -> int:
        """Images that are written or handed over."""
        return self._writer.count

    def append(self, **rows: np.ndarray) -> None:
        """Add `features`, `rows` and, where the set has them, `logits` and `labels`."""
        self._writer.append(**rows)

    def finish(self) -> None:
        """Write `features.json`, the last file."""
        self._writer.finish(self._head)


class FeatureSet:
    """Features of images, read without being loaded."""

    def __init__(self, path: Path, index: Mapping[str, Any]) -> None:
        self.path = path
        self.count: int = index["count"]
        self.dimensions: int = index["dimensions"]
        self.num_logits: int = index["num_logits"]
        self.dtype: str = index["dtype"]
        self.class_names: tuple[str, ...] = tuple(index["class_names"])
        self.labelled: bool = index["labelled"]
        self.extractor: dict[str, Any] = index["extractor"]
        columns = _columns(self.dimensions, self.num_logits, self.labelled, self.dtype)
        self._reader = ShardReader(path, columns, index["shards"], _MADE_BY)

    @classmethod
    def open(cls, path: Path) -> "FeatureSet":
        """Open a feature set and check that every file is there and of the right size.

        Raises:
            UserError: `features.json` is missing, of another version, or a file is damaged.
        """
        index = read_json(path / FEATURES, _MADE_BY)
        if not isinstance(index, dict) or index.get("format") != FORMAT:
            raise UserError(f"{path / FEATURES} is no index of features: '{_MADE_BY}' writes one")
        if index["version"] != VERSION:
            raise UserError(
                f"{path} holds features of version {index['version']}, expected {VERSION}: "
                f"'{_MADE_BY}' run again rewrites them"
            )
        return cls(path, index)

    def features(self, rows: np.ndarray) -> np.ndarray:
        """Return the features at `rows`, (len(rows), dimensions) float32."""
        return self._reader.gather("features", rows).astype(np.float32, copy=False)

    def logits(self, rows: np.ndarray) -> np.ndarray:
        """Return the logits at `rows`, (len(rows), num_logits) float32."""
        return self._reader.gather("logits", rows)

    def labels(self) -> np.ndarray:
        """Return the labels of all images, (count,) int64.

        Raises:
            UserError: the store that the features were made from has none.
        """
        if not self.labelled:
            raise UserError(
                f"the images of {self.path} have no labels: 'pyrobust label' and "
                f"'pyrobust select' give them, then run '{_MADE_BY}' on the selected store"
            )
        return self._reader.whole("labels")

    def verify(self) -> None:
        """Compare every shard with its SHA-256.

        Raises:
            UserError: names the first file that differs.
        """
        self._reader.verify()

    def store_rows(self) -> np.ndarray:
        """Return the row of each image in its store (in all stores, joined), (count,) int64."""
        return self._reader.whole("rows")


class Rows:
    """Some features of a set as an array that is read piece by piece, (len(rows), D) float32."""

    def __init__(self, features: FeatureSet, rows: np.ndarray) -> None:
        self._features = features
        self._rows = rows
        self.shape = (len(rows), features.dimensions)

    def __getitem__(self, piece: slice) -> np.ndarray:
        """Return rows in order, (n, D) float32."""
        return self._features.features(self._rows[piece])


def check_same_space(*sets: FeatureSet) -> None:
    """Refuse sets that different extractors made, of different types or classes.

    Raises:
        UserError: names the first two sets that differ.
    """
    first = sets[0]
    for other in sets[1:]:
        if other.extractor != first.extractor or other.dimensions != first.dimensions:
            raise UserError(
                f"{first.path} holds features of {_named(first)}, {other.path} of "
                f"{_named(other)}, expected one extractor with the same weights: "
                f"run '{_MADE_BY}' for both with the same one"
            )
        if other.dtype != first.dtype:
            # Rounded on one side only, a copy would no longer lie at distance zero.
            raise UserError(
                f"{first.path} holds {first.dtype} and {other.path} {other.dtype}, expected one "
                f"type: run '{_MADE_BY}' for both with the same --dtype"
            )
        if other.class_names != first.class_names:
            raise UserError(
                f"{first.path} has {len(first.class_names)} classes and {other.path} "
                f"{len(other.class_names)}, expected the same classes in the same order"
            )


def _named(features: FeatureSet) -> str:
    return f"{features.extractor['name']} ({features.extractor['weights_sha256'][:8]})"


def _columns(dimensions: int, num_logits: int, labelled: bool, dtype: str) -> dict[str, Column]:
    columns = {"features": Column(dtype, (dimensions,)), "rows": Column("int64")}
    if num_logits:
        columns["logits"] = Column("float32", (num_logits,))
    if labelled:
        columns["labels"] = Column("int64")
    return columns

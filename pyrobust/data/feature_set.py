"""Feature sets: an extractor's features of the images of a store (docs/formats.md)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from pyrobust.data.shard_writer import ShardWriter
from pyrobust.data.shards import Column, ShardReader, read_index
from pyrobust.errors import UserError
from pyrobust.files import described_by

FEATURES = "features.json"
FORMAT = "pyrobust-features"
VERSION = 2
_MADE_BY = "pyrobust features"

# 64 MiB of features: small enough to lose to a kill and to hold while it is written.
_SHARD_BYTES = 1 << 26


class FeatureWriter:
    """Writes a feature set; a later writer with equal arguments resumes where it stopped.

    Args:
        total: images that the set will hold.
        dimensions: values of one image.
        num_logits: logits of one image, 0 if the extractor is not a classifier.
        dtype: type that features are stored in, float32 or float16.
        batch_size: images that are always extracted together; shards hold whole batches.
        provenance: `extractor` with its name and its weights, the stores, the draw of the images.
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

    def append(
        self,
        features: np.ndarray,
        rows: np.ndarray,
        logits: np.ndarray | None = None,
        labels: np.ndarray | None = None,
    ) -> None:
        """Add features (N, D) of the images at `rows` (N,), and what else the set has of them.

        Raises:
            UserError: a feature is not finite, or not in the type that they are stored in.
        """
        columns = {"features": self._stored(features, rows), "rows": rows}
        if logits is not None:
            columns["logits"] = logits
        if labels is not None:
            columns["labels"] = labels
        self._writer.append(**columns)

    def _stored(self, features: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the features in the type that they are stored in."""
        with np.errstate(over="ignore"):
            stored = features.astype(self._head["dtype"], copy=False)
        wrong = np.flatnonzero(~np.isfinite(stored).all(axis=1))
        if not wrong.size:
            return stored
        what = f"the {self._head['extractor']['name']}'s features of image {rows[wrong[0]]}"
        if np.isfinite(features).all():
            raise UserError(
                f"{what} reach {np.abs(features[wrong[0]]).max():g}, above float16's maximum of "
                "65,504; use --dtype float32"
            )
        raise UserError(
            f"{what} contain NaN or infinity; check that the extractor's training is complete"
        )

    def finish(self) -> None:
        """Write `features.json`, the last file."""
        self._writer.finish(self._head)


class FeatureSet:
    """Features of images, memory-mapped."""

    def __init__(self, path: Path, index: Mapping[str, Any]) -> None:
        self.path = path
        self.count: int = index["count"]
        self.dimensions: int = index["dimensions"]
        self.num_logits: int = index["num_logits"]
        self.dtype: str = index["dtype"]
        self.class_names: tuple[str, ...] = tuple(index["class_names"])
        self.labelled: bool = index["labelled"]
        self.extractor: dict[str, Any] = index["extractor"]
        self.part: dict[str, Any] = index.get("part", {})  # of the samples, if it is one
        columns = _columns(self.dimensions, self.num_logits, self.labelled, self.dtype)
        self._reader = ShardReader(path, columns, index["shards"], _MADE_BY)

    @classmethod
    def open(cls, path: Path) -> "FeatureSet":
        """Open a feature set and check that every file is there and of the right size.

        Raises:
            UserError: `features.json` is missing, of another version, or a file is damaged.
        """
        index = path / FEATURES
        with described_by(index, _MADE_BY):
            return cls(path, read_index(index, FORMAT, VERSION, _MADE_BY, "features"))

    def features(self, rows: np.ndarray) -> np.ndarray:
        """Return the features at `rows`, (len(rows), dimensions) float32."""
        return self._reader.gather("features", rows).astype(np.float32, copy=False)

    def logits(self, rows: np.ndarray) -> np.ndarray:
        """Return the logits at `rows`, (len(rows), num_logits) float32."""
        return self._reader.gather("logits", rows)

    def labels(self, dtype: DTypeLike = np.int64) -> np.ndarray:
        """Return the labels of all images, (count,).

        Args:
            dtype: a smaller type that can hold all classes, to save memory.

        Raises:
            UserError: the store that the features were made from has none.
        """
        if not self.labelled:
            raise UserError(
                f"the images of {self.path} have no labels; add them with 'pyrobust label' and "
                f"'pyrobust select', then run '{_MADE_BY}' on the selected store"
            )
        return self._reader.whole("labels", dtype)

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
    """Refuse sets of different extractors, types or classes.

    Raises:
        UserError: names the first two sets that differ.
    """
    first = sets[0]
    for other in sets[1:]:
        if other.extractor != first.extractor or other.dimensions != first.dimensions:
            raise UserError(
                f"{first.path} has features of {_named(first)}, but {other.path} of "
                f"{_named(other)}; run '{_MADE_BY}' for both with the same extractor and weights"
            )
        if other.dtype != first.dtype:
            # Rounded on one side only, a copy would no longer lie at distance zero.
            raise UserError(
                f"{first.path} has {first.dtype} features, but {other.path} {other.dtype}; run "
                f"'{_MADE_BY}' for both with the same --dtype"
            )
        if other.class_names != first.class_names:
            raise UserError(
                f"{first.path} has {len(first.class_names)} classes, but {other.path} has "
                f"{len(other.class_names)}; both need the same classes in the same order"
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

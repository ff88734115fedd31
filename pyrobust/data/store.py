"""Sample stores: images with labels and scores, in shards (docs/formats.md)."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from pyrobust.data.shard_writer import ShardWriter
from pyrobust.data.shards import Column, ShardReader
from pyrobust.errors import UserError
from pyrobust.files import described_by, read_json, sha256_of

MANIFEST = "manifest.json"
FORMAT = "pyrobust-store"
VERSION = 1

# 64 MiB of images: small enough to lose to a kill and to hold while it is written.
_SHARD_BYTES = 1 << 26

ImageShape = tuple[int, int, int]  # (H, W, C)


class StoreWriter:
    """Writes a sample store; a later writer with equal arguments resumes where it stopped.

    Args:
        total: images that the store will hold.
        provenance: where the images come from. It decides, with the other arguments, whether
            shards that are already there are kept, so it must name all that the images depend on.
        made_by: the command that writes the store, such as "pyrobust sample".
        first_id: id of the first image; the others follow.
        identified: whether each image has its own id instead.
        shard_size: images of a shard, where they are worth keeping sooner than at 64 MiB.
    """

    def __init__(
        self,
        path: Path,
        image_shape: ImageShape,
        class_names: Sequence[str],
        total: int,
        provenance: Mapping[str, Any],
        made_by: str,
        labelled: bool = True,
        scored: bool = False,
        first_id: int = 0,
        identified: bool = False,
        shard_size: int | None = None,
    ) -> None:
        self._image_shape = image_shape
        self._num_classes = len(class_names)
        self._provenance = dict(provenance)
        self._head = {
            "format": FORMAT,
            "version": VERSION,
            "image_shape": list(image_shape),
            "dtype": "uint8",
            "class_names": list(class_names),
            "labelled": labelled,
            "scored": scored,
            "first_id": first_id,
            "made_by": made_by,
            **({"identified": True} if identified else {}),
        }
        most = max(1, _SHARD_BYTES // math.prod(image_shape))
        self.shard_size = min(shard_size or most, most)
        self._writer = ShardWriter(
            path,
            MANIFEST,
            _columns(image_shape, labelled, scored, identified),
            total,
            self.shard_size,
            {**self._head, "provenance": self._provenance},
        )

    @property
    def count(self) -> int:
        """Images that need not be appended: those of an earlier writer and of this one."""
        return self._writer.count

    def append(
        self,
        images: np.ndarray,
        labels: np.ndarray | None = None,
        scores: np.ndarray | None = None,
        ids: np.ndarray | None = None,
    ) -> None:
        """Add images (N, H, W, C) uint8 with labels, scores and ids (N,) where the store has them.

        Raises:
            UserError: a label is not a class of the store.
        """
        rows = {"images": images}
        if labels is not None:
            check_labels(labels, self._num_classes, "the appended labels")
            rows["labels"] = labels.astype(np.int64, copy=False)
        if scores is not None:
            rows["scores"] = scores.astype(np.float32, copy=False)
        if ids is not None:
            rows["ids"] = ids.astype(np.int64, copy=False)
        self._writer.append(**rows)

    def finish(self, facts: Mapping[str, Any] | None = None) -> None:
        """Write the manifest; `facts` found on the way join the provenance."""
        self._writer.finish({**self._head, "provenance": {**self._provenance, **(facts or {})}})


class SampleStore:
    """A folder of images, memory-mapped."""

    def __init__(self, path: Path, manifest: Mapping[str, Any]) -> None:
        self.path = path
        self.count: int = manifest["count"]
        height, width, channels = manifest["image_shape"]
        self.image_shape: ImageShape = (height, width, channels)
        self.class_names: tuple[str, ...] = tuple(manifest["class_names"])
        self.labelled: bool = manifest["labelled"]
        self.scored: bool = manifest["scored"]
        self.identified: bool = manifest.get("identified", False)
        self.first_id: int = manifest["first_id"]
        self.made_by: str = manifest["made_by"]
        self.provenance: dict[str, Any] = manifest["provenance"]
        columns = _columns(self.image_shape, self.labelled, self.scored, self.identified)
        self._rows = ShardReader(path, columns, manifest["shards"], self.made_by)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "SampleStore":
        """Open a store and check that every file is there and of the right size.

        Raises:
            UserError: the manifest is missing, of another version, or a file is damaged.
        """
        path = Path(path)
        if path.suffix == ".npz":
            raise UserError(
                f"{path} is not a sample store; import it with 'pyrobust fit-generator --type "
                f"imported --path {path}' and 'pyrobust sample' (docs/published-samples.md)"
            )
        manifest_path = path / MANIFEST
        made_by = "pyrobust dataset, sample or select"
        manifest = read_json(manifest_path, made_by)
        if manifest.get("format") != FORMAT:
            raise UserError(f"{manifest_path} is not the manifest of a sample store")
        if (version := manifest.get("version")) != VERSION:
            raise UserError(
                f"{path} is a sample store of version {version}, but version {VERSION} is "
                f"required; run '{manifest.get('made_by', made_by)}' again to rewrite it"
            )
        with described_by(manifest_path, made_by):
            store = cls(path, manifest)
        if store._rows.count != store.count:
            raise UserError(
                f"{manifest_path} lists {store.count} images, but its shards have "
                f"{store._rows.count}"
            )
        return store

    def check_fits(self, other: "SampleStore", remedy: str) -> None:
        """Require the image shape and the classes of `other`.

        Args:
            remedy: what to do otherwise, for the message.

        Raises:
            UserError: one of them differs.
        """
        for what in ("image_shape", "class_names"):
            mine, theirs = getattr(self, what), getattr(other, what)
            if mine != theirs:
                raise UserError(
                    f"{what} of {self.path} is {mine}, but {theirs} in {other.path}; {remedy}"
                )

    @property
    def sha256(self) -> str:
        """Hash of the manifest, which holds the hashes of all shards."""
        return sha256_of(self.path / MANIFEST)

    def labels(self, dtype: DTypeLike = np.int64) -> np.ndarray:
        """Return the labels, (N,).

        Args:
            dtype: a smaller type that holds all classes: a hundred million labels are 100 MB in
                uint8, and are never held as int64.

        Raises:
            UserError: the store has none.
        """
        if not self.labelled:
            raise UserError(
                f"{self.path} has no labels; add them with 'pyrobust label' and 'pyrobust select'"
            )
        labels = np.empty(self.count, dtype)
        for first, shard in self._rows.each("labels"):
            check_labels(shard, len(self.class_names), f"the labels of {self.path}", first)
            labels[first : first + len(shard)] = shard
        return labels

    def scores(self) -> np.ndarray | None:
        """Return the labeller's confidence of each image, (N,) float32, where there is one."""
        return self._rows.whole("scores") if self.scored else None

    def ids(self, index: np.ndarray) -> np.ndarray:
        """Return the ids of the images at `index` (row numbers), (len(index),) int64."""
        return self._rows.gather("ids", index) if self.identified else self.first_id + index

    def images(self) -> np.ndarray:
        """Return all images, (N, H, W, C) uint8, for stores that fit in memory."""
        return self._rows.whole("images")

    def gather(self, index: np.ndarray) -> np.ndarray:
        """Return the images at `index` (row numbers, in any order), (len(index), H, W, C)."""
        return self._rows.gather("images", index)

    def blocks(self, size: int, start: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (row number of the first image, up to `size` images) in order."""
        return self._rows.blocks("images", size, start)

    def verify(self) -> None:
        """Compare every shard with its SHA-256.

        Raises:
            UserError: names the first file that differs.
        """
        self._rows.verify()


def label_type(num_classes: int) -> np.dtype[Any]:
    """Return the smallest type that holds all labels: uint8, or uint16 with more than 256."""
    return np.min_scalar_type(num_classes - 1)


def check_labels(labels: np.ndarray, num_classes: int, what: str, first: int = 0) -> None:
    """Refuse labels outside [0, num_classes).

    Args:
        first: row of the first of them.

    Raises:
        UserError: names the row and its label.
    """
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if wrong.size:
        raise UserError(
            f"label {labels[wrong[0]]} in row {first + wrong[0]} of {what} is out of range; "
            f"expected 0 to {num_classes - 1}"
        )


def _columns(
    image_shape: ImageShape, labelled: bool, scored: bool, identified: bool
) -> dict[str, Column]:
    columns = {"images": Column("uint8", image_shape)}
    if labelled:
        columns["labels"] = Column("int64")
    if scored:
        columns["scores"] = Column("float32")
    if identified:
        columns["ids"] = Column("int64")
    return columns

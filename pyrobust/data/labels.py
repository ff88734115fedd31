"""Pseudo-labels of a part of the samples, and the order of their classes (docs/formats.md)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyrobust.data.shard_writer import ShardWriter
from pyrobust.data.shards import Column, ShardReader, read_index
from pyrobust.data.store import check_labels
from pyrobust.files import described_by

# Images per class that suffice for the comparison.
_ENOUGH = 30


def traded_classes(confusion: np.ndarray) -> dict[int, int]:
    """Return the classes that trade places: class given → class that most of its images show.

    Most images of each must show another of these classes, and each is shown by one. A weak
    classifier, or poor images, mistake classes for one another without such an order.

    Args:
        confusion: (K, K) images of each given class (row) by the class that a classifier sees.
    """
    counts, seen = confusion.sum(axis=1), confusion.argmax(axis=1)
    most = 2 * confusion.max(axis=1) > counts
    moved = np.flatnonzero(most & (counts >= _ENOUGH) & (seen != np.arange(len(confusion))))
    is_order = np.array_equal(np.sort(seen[moved]), moved)
    return dict(zip(moved.tolist(), seen[moved].tolist(), strict=True)) if is_order else {}


LABELS = "labels.json"
FORMAT = "pyrobust-labels"
VERSION = 1

MADE_BY = "pyrobust label"

# A labeller on a laptop takes minutes for so many: what a kill may cost.
_SHARD_SIZE = 25_000

_COLUMNS = {"labels": Column("int64"), "scores": Column("float32")}
_CONDITION = {"condition_scores": Column("float32")}


class LabelWriter:
    """Writes labels and scores; a later writer with equal arguments resumes where it stopped.

    Args:
        total: samples that will be labelled.
        first_id: id of the first of them.
        provenance: hashes of the samples and of the labeller, and what else decides the result.
        conditional: whether the samples have classes that the generator was asked for.
    """

    def __init__(
        self,
        path: Path,
        class_names: Sequence[str],
        total: int,
        first_id: int,
        provenance: Mapping[str, Any],
        conditional: bool,
    ) -> None:
        self._head = {
            "format": FORMAT,
            "version": VERSION,
            "class_names": list(class_names),
            "first_id": first_id,
            "conditional": conditional,
            "provenance": dict(provenance),
        }
        columns = _columns(conditional)
        self._writer = ShardWriter(path, LABELS, columns, total, _SHARD_SIZE, self._head)

    @property
    def count(self) -> int:
        """Samples that need not be appended: those of an earlier writer and of this one."""
        return self._writer.count

    def append(
        self,
        labels: np.ndarray,
        scores: np.ndarray,
        condition_scores: np.ndarray | None = None,
    ) -> None:
        """Add labels (N,) int64, scores and, where there are conditions, their scores float32."""
        rows = {"labels": labels, "scores": scores}
        if condition_scores is not None:
            rows["condition_scores"] = condition_scores
        self._writer.append(**rows)

    def finish(self) -> None:
        """Write labels.json."""
        self._writer.finish(self._head)


class LabelStore:
    """A folder of pseudo-labels and their scores."""

    def __init__(self, path: Path, index: Mapping[str, Any]) -> None:
        self.path = path
        self.count: int = index["count"]
        self.first_id: int = index["first_id"]
        self.class_names: tuple[str, ...] = tuple(index["class_names"])
        self.conditional: bool = index["conditional"]
        self.provenance: dict[str, Any] = index["provenance"]
        self._rows = ShardReader(path, _columns(self.conditional), index["shards"], MADE_BY)

    @classmethod
    def open(cls, path: Path) -> "LabelStore":
        """Open a folder that `pyrobust label` wrote.

        Raises:
            UserError: labels.json is missing, of another version, or a file is damaged.
        """
        index = path / LABELS
        with described_by(index, MADE_BY):
            return cls(path, read_index(index, FORMAT, VERSION, MADE_BY, "pseudo-labels"))

    def labels(self) -> np.ndarray:
        """Return the labels, (N,) int64."""
        labels = self._rows.whole("labels")
        check_labels(labels, len(self.class_names), f"the labels of {self.path}")
        return labels

    def scores(self) -> np.ndarray:
        """Return the confidences in [0, 1], (N,) float32."""
        return self._rows.whole("scores")

    def condition_scores(self) -> np.ndarray:
        """Return the confidences in the classes that the generator was asked for, (N,) float32."""
        return self._rows.whole("condition_scores")

    def verify(self) -> None:
        """Compare every shard with its SHA-256.

        Raises:
            UserError: names the first file that differs.
        """
        self._rows.verify()


def _columns(conditional: bool) -> dict[str, Column]:
    return {**_COLUMNS, **_CONDITION} if conditional else _COLUMNS

"""The labelled samples that a selection chooses from: parts made before, and more when needed.

How a sample gets its label: `assign_labels` in pseudo_labels.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pyrobust.data.distances import DistanceStore
from pyrobust.data.labels import LabelStore, traded_classes
from pyrobust.data.store import SampleStore, label_type
from pyrobust.errors import UserError
from pyrobust.generators.base import Generator
from pyrobust.generators.pseudo_labels import Labeller, LabelSource, assign_labels
from pyrobust.generators.sampling import sample_ids


class DistanceMeasure(Protocol):
    """Measures how far samples lie from the training images."""

    @property
    def source(self) -> dict[str, Any]:
        """What decides the distances, apart from the samples."""

    def provenance(self, samples: SampleStore) -> dict[str, Any]:
        """Return what decides the distances of `samples`."""

    def measure(self, samples: SampleStore, output: Path) -> None:
        """Write a folder of distances."""


@dataclass(frozen=True)
class CopyCheck:
    """How near-copies of training images are found."""

    min_distance: float
    """Distance below which a sample is a near-copy."""
    folder: Path
    """Holds the numbered distances of the parts."""
    distances: DistanceMeasure
    """Measures those of the parts that the pool makes."""


class SamplePool:
    """Samples that selection chooses from; in memory are 5 bytes of each: label and score.

    (6 with a check for copies, and another one with more than 256 classes.)

    Args:
        parts, labels: folders that hold the numbered parts and their pseudo-labels.
        numbers: the parts that are read, consecutive.
        label_source: which of its classes a sample gets as its label, as `assign_labels` has it.
        more: folder for the parts that `grow` makes.

    Raises:
        UserError: a part is missing, damaged, or of another generator or labeller, or the classes
            of imported labels are in another order.
    """

    def __init__(
        self,
        generator: Generator,
        labeller: Labeller,
        parts: Path,
        labels: Path,
        numbers: range,
        label_source: LabelSource,
        more: Path,
        copies: CopyCheck | None = None,
    ) -> None:
        if label_source == "condition" and not generator.conditional:
            raise UserError(
                "label_source is condition, but the generator type "
                f"{generator.spec.settings.type} is not conditional; use labeller"
            )
        self.generator = generator
        self.labeller = labeller
        self._label_source = label_source
        num_classes = len(generator.spec.class_names)
        self._confusion = np.zeros((num_classes, num_classes), np.int64)
        self._more = more
        self._copies = copies
        self.first_id = numbers.start * generator.spec.settings.part_size
        self._stores: list[SampleStore] = []
        self._starts = np.zeros(1, np.int64)  # row of the first sample of each part; count
        self._labels = np.empty(0, label_type(len(generator.spec.class_names)))
        self._scores = np.empty(0, np.float32)
        self._is_copy = None if copies is None else np.empty(0, bool)
        self._add(
            [
                _Part.open(
                    parts / str(part),
                    labels / str(part),
                    None if copies is None else copies.folder / str(part),
                )
                for part in numbers
            ]
        )

    @property
    def count(self) -> int:
        """Samples in the pool; below, row i is the one with the pool's first id + i."""
        return int(self._starts[-1])

    @property
    def labels(self) -> np.ndarray:
        """The labels by row, (count,) uint8, or uint16 with more than 256 classes."""
        return self._labels

    @property
    def scores(self) -> np.ndarray:
        """The labeller's confidences in the labels by row, (count,) float32."""
        return self._scores

    @property
    def is_copy(self) -> np.ndarray | None:
        """Which samples are near-copies of training images, (count,), where that was asked."""
        return self._is_copy

    def grow(self, count: int) -> None:
        """Sample, label and check the next `count` ids; what a killed run made is found again."""
        first_id = self.first_id + self.count
        samples, labels, distances = (
            self._more / f"{what}-{first_id}" for what in ("samples", "labels", "distances")
        )
        sample_ids(self.generator, first_id, count, samples)
        store = SampleStore.open(samples)
        self.labeller.label(store, labels)
        if self._copies is not None:
            self._copies.distances.measure(store, distances)
        self._add([_Part.open(samples, labels, distances if self._copies else None)])

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """Return the images at these rows, (len(rows), H, W, C) uint8, in their order."""
        images = np.empty((len(rows), *self.generator.spec.image_shape), np.uint8)
        order = np.argsort(rows, kind="stable")
        bounds = np.searchsorted(rows[order], self._starts)
        for number in np.flatnonzero(np.diff(bounds)).tolist():
            places = order[bounds[number] : bounds[number + 1]]
            images[places] = self._stores[number].gather(rows[places] - self._starts[number])
        return images

    def _add(self, parts: Sequence["_Part"]) -> None:
        """Append parts; each array is made once, since it is the most that there is in memory."""
        first = self.count
        starts = self._starts.tolist()
        for part in parts:
            self._check(part, self.first_id + starts[-1])
            starts.append(starts[-1] + part.samples.count)
        self._starts = np.array(starts)
        self._labels = _longer(self._labels, self.count)
        self._scores = _longer(self._scores, self.count)
        if self._is_copy is not None:
            self._is_copy = _longer(self._is_copy, self.count)
        for part in parts:
            here = slice(first, first + part.samples.count)
            self._stores.append(part.samples)
            labels, self._scores[here] = assign_labels(
                part.samples, part.labels, self._label_source
            )
            self._labels[here] = labels
            if self._label_source == "condition":
                np.add.at(self._confusion, (labels, part.labels.labels()), 1)
            if self._is_copy is not None and self._copies and part.distances:
                self._is_copy[here] = part.distances.distances() < self._copies.min_distance
            first = here.stop
        self._check_class_order()

    def _check_class_order(self) -> None:
        """Refuse published labels that number the classes in another order."""
        kind, names = self.generator.spec.settings.type, self.generator.spec.class_names
        traded = traded_classes(self._confusion) if kind == "imported" else {}
        if traded:
            told = ", ".join(f"'{names[k]}' shows '{names[seen]}'" for k, seen in traded.items())
            raise UserError(
                "the imported labels seem to number the classes in another order: the labeller "
                f"disagrees on most images ({told}); renumber them, or use the labeller's "
                "classes with --label-source labeller"
            )

    def _check(self, part: "_Part", first_id: int) -> None:
        samples, labels = part.samples, part.labels
        if samples.first_id != first_id:
            raise UserError(
                f"{samples.path} starts at id {samples.first_id} instead of {first_id}; sample "
                "all parts with the same --part-size"
            )
        if samples.provenance != self.generator.provenance():
            raise UserError(
                f"{samples.path} was sampled from another generator or seed; run "
                f"'{samples.made_by}' again to rewrite it"
            )
        if labels.provenance != self.labeller.provenance(samples):
            raise UserError(
                f"{labels.path} labels other samples, or was made by another labeller; run "
                "'pyrobust label' again to rewrite it"
            )
        if self._copies is None or part.distances is None:
            return
        if part.distances.provenance != self._copies.distances.provenance(samples):
            raise UserError(
                f"{part.distances.path} belongs to other samples or other training images; run "
                "'pyrobust distances' again to rewrite it"
            )


@dataclass(frozen=True)
class _Part:
    """Consecutive samples with what is known of them."""

    samples: SampleStore
    labels: LabelStore
    distances: DistanceStore | None

    @classmethod
    def open(cls, samples: Path, labels: Path, distances: Path | None) -> "_Part":
        return cls(
            SampleStore.open(samples),
            LabelStore.open(labels),
            None if distances is None else DistanceStore.open(distances),
        )


def _longer(values: np.ndarray, count: int) -> np.ndarray:
    """Return an array of `count` that starts with `values`; the rest is not set."""
    result = np.empty(count, values.dtype)
    result[: len(values)] = values
    return result

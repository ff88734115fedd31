"""Labelled samples with ids from 0 on, in parts that were made elsewhere and in parts made here."""

from pathlib import Path

import numpy as np

from pyrobust.data.labels import LabelStore
from pyrobust.data.store import SampleStore
from pyrobust.errors import UserError
from pyrobust.generators.base import Generator
from pyrobust.generators.labelling import Labeller
from pyrobust.generators.sampling import sample_ids


class SamplePool:
    """Samples that selection chooses from; in memory are 6 bytes of each: label and score.

    Args:
        parts, labels: folders that hold the numbered parts and their pseudo-labels.
        num_parts: parts 0 to num_parts - 1 are read.
        label_source: whether labels and scores are those of the labeller's class, or of the class
            that the generator was asked for.
        more: folder for the parts that `grow` makes.

    Raises:
        UserError: a part is missing, damaged, or of another generator or labeller.
    """

    def __init__(
        self,
        generator: Generator,
        labeller: Labeller,
        parts: Path,
        labels: Path,
        num_parts: int,
        label_source: str,
        more: Path,
    ) -> None:
        if label_source == "condition" and not generator.conditional:
            raise UserError(
                f"label_source is condition, but the generator {generator.spec.settings.type} is "
                "not conditional: expected labeller"
            )
        self.generator = generator
        self.labeller = labeller
        self._by_condition = label_source == "condition"
        self._more = more
        self._stores: list[SampleStore] = []
        self._labels: list[np.ndarray] = []
        self._scores: list[np.ndarray] = []
        for part in range(num_parts):
            self._add(SampleStore.open(parts / str(part)), LabelStore.open(labels / str(part)))

    @property
    def count(self) -> int:
        """Samples in the pool; their ids are 0 to count - 1."""
        return sum(store.count for store in self._stores)

    def labels(self) -> np.ndarray:
        """Return the labels by id, (count,) uint16."""
        return np.concatenate([np.empty(0, np.uint16), *self._labels])

    def scores(self) -> np.ndarray:
        """Return the labeller's confidences in the labels by id, (count,) float32."""
        return np.concatenate([np.empty(0, np.float32), *self._scores])

    def grow(self, count: int) -> None:
        """Sample and label the next `count` ids; what a killed run made is found again."""
        first_id = self.count
        samples, labels = self._more / f"samples-{first_id}", self._more / f"labels-{first_id}"
        sample_ids(self.generator, first_id, count, samples)
        store = SampleStore.open(samples)
        self.labeller.label(store, labels)
        self._add(store, LabelStore.open(labels))

    def gather(self, ids: np.ndarray) -> np.ndarray:
        """Return the images with these ids, (len(ids), H, W, C) uint8, in their order."""
        images = np.empty((len(ids), *self.generator.spec.image_shape), np.uint8)
        for store in self._stores:
            rows = np.flatnonzero((ids >= store.first_id) & (ids < store.first_id + store.count))
            if rows.size:
                images[rows] = store.gather(ids[rows] - store.first_id)
        return images

    def _add(self, store: SampleStore, labels: LabelStore) -> None:
        if store.first_id != self.count:
            raise UserError(
                f"{store.path} starts at id {store.first_id}, expected {self.count}: parts must "
                "be of one size, as 'pyrobust sample --part-size' makes them"
            )
        if store.provenance != self.generator.provenance():
            raise UserError(
                f"{store.path} was sampled from another generator or seed: "
                f"'{store.made_by}' run again rewrites it"
            )
        if labels.provenance != self.labeller.provenance(store):
            raise UserError(
                f"{labels.path} labels other samples, or by another labeller: "
                "'pyrobust label' run again rewrites it"
            )
        self._stores.append(store)
        source = store.labels() if self._by_condition else labels.labels()
        self._labels.append(source.astype(np.uint16))
        self._scores.append(labels.condition_scores() if self._by_condition else labels.scores())

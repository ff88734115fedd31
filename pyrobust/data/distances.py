"""Distances of a part of the samples to the training images, in shards (docs/formats.md)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pyrobust.data.shard_writer import ShardWriter
from pyrobust.data.shards import Column, ShardReader, read_index
from pyrobust.files import described_by

DISTANCES = "distances.json"
FORMAT = "pyrobust-distances"
VERSION = 1

MADE_BY = "pyrobust distances"

# Searched together among all training images: minutes on a laptop, what a kill may cost.
SHARD_SIZE = 25_000

_COLUMNS = {"distances": Column("float32")}


class DistanceWriter:
    """Writes distances; a later writer with equal arguments resumes where it stopped.

    Args:
        total: samples that will be measured.
        first_id: id of the first of them.
        provenance: hashes of the samples and of the training images, and what else decides.
    """

    def __init__(
        self, path: Path, total: int, first_id: int, provenance: Mapping[str, Any]
    ) -> None:
        self._head = {
            "format": FORMAT,
            "version": VERSION,
            "first_id": first_id,
            "provenance": dict(provenance),
        }
        self._writer = ShardWriter(path, DISTANCES, _COLUMNS, total, SHARD_SIZE, self._head)

    @property
    def count(self) -> int:
        """Samples that need not be appended: those of an earlier writer and of this one."""
        return self._writer.count

    def append(self, distances: np.ndarray) -> None:
        """Add distances (N,) float32."""
        self._writer.append(distances=distances)

    def finish(self) -> None:
        """Write distances.json."""
        self._writer.finish(self._head)


class DistanceStore:
    """A folder of distances."""

    def __init__(self, path: Path, index: Mapping[str, Any]) -> None:
        self.path = path
        self.count: int = index["count"]
        self.first_id: int = index["first_id"]
        self.provenance: dict[str, Any] = index["provenance"]
        self._rows = ShardReader(path, _COLUMNS, index["shards"], MADE_BY)

    @classmethod
    def open(cls, path: Path) -> "DistanceStore":
        """Open a folder that `pyrobust distances` wrote.

        Raises:
            UserError: distances.json is missing, of another version, or a file is damaged.
        """
        index = path / DISTANCES
        with described_by(index, MADE_BY):
            return cls(path, read_index(index, FORMAT, VERSION, MADE_BY, "distances"))

    def distances(self) -> np.ndarray:
        """Return the distance of each sample to the nearest training image, (N,) float32.

        It is the root mean square difference of pixels in [0, 1].
        """
        return self._rows.whole("distances")

    def verify(self) -> None:
        """Compare every shard with its SHA-256.

        Raises:
            UserError: names the first file that differs.
        """
        self._rows.verify()

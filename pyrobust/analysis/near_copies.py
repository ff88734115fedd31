"""How far samples lie from the training images, pixel by pixel: what finds memorised ones.

Pixels are whole numbers, so the search is exact and its result the same on any machine. Mirrored
training images count as well where training mirrors them: a generator fitted on both repeats both.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np

from pyrobust.analysis.candidates import uses_gpu
from pyrobust.analysis.exact_search import nearest_neighbours
from pyrobust.cost import write_cost
from pyrobust.data.dataset import Dataset
from pyrobust.data.distances import SHARD_SIZE, DistanceWriter
from pyrobust.data.store import SampleStore
from pyrobust.errors import UserError

# Shards of samples that a GPU searches together. Each search prepares the training images
# on the CPU: little compared with minutes of CPU search, but more than a GPU takes for a shard.
_SHARDS_ON_GPU = 40


class TrainingDistances:
    """Measures the distance of each sample to the nearest training image.

    Args:
        memory_bytes: bound on what the search holds at once; no result changes.
    """

    def __init__(self, dataset: Dataset, memory_bytes: int) -> None:
        self._dataset = dataset
        self._memory_bytes = memory_bytes

    @property
    def source(self) -> dict[str, Any]:
        """What decides the distances, apart from the samples."""
        return {"train_sha256": self._dataset.train.sha256, "mirrored": self._dataset.flip}

    def provenance(self, samples: SampleStore) -> dict[str, Any]:
        """Return what decides the distances of `samples`."""
        return {"samples_sha256": samples.sha256, **self.source}

    def measure(self, samples: SampleStore, output: Path) -> None:
        """Write the distance of every sample; an interrupted run resumes.

        Raises:
            UserError: the samples have another shape than the training images.
        """
        if samples.image_shape != self._dataset.image_shape:
            raise UserError(
                f"{samples.path} has images of shape {samples.image_shape}, but "
                f"{self._dataset.path} has {self._dataset.image_shape}; use the data set that "
                "the generator was trained on"
            )
        started = time.monotonic()
        writer = DistanceWriter(output, samples.count, samples.first_id, self.provenance(samples))
        training = _PixelRows(self._dataset.train, 0, self._dataset.train.count, self._dataset.flip)
        done = writer.count
        at_once = SHARD_SIZE * (_SHARDS_ON_GPU if uses_gpu() else 1)
        while (first := writer.count) < samples.count:
            some = _PixelRows(samples, first, min(at_once, samples.count - first))
            found = nearest_neighbours(
                some, training, self._memory_bytes, what=f"samples from {first:,}: nearest in train"
            )
            mean_square = found.squared_distance / (255**2 * some.shape[1])
            writer.append(np.sqrt(mean_square).astype(np.float32))
        writer.finish()
        if done < samples.count:
            seconds = time.monotonic() - started
            device = "cuda" if uses_gpu() else "cpu"
            write_cost(output / "cost.json", seconds, device, (samples.count - done) / seconds)


class _PixelRows:
    """Images of a store as rows of their pixels, float32 from 0 to 255, read piece by piece.

    Args:
        first, count: which images.
        mirrored: whether their mirror images follow as further rows.
    """

    def __init__(self, store: SampleStore, first: int, count: int, mirrored: bool = False) -> None:
        self._store = store
        self._first = first
        self._count = count
        self.shape = (2 * count if mirrored else count, int(np.prod(store.image_shape)))

    def __getitem__(self, piece: slice) -> np.ndarray:
        """Return rows in order, (n, H * W * C) float32."""
        rows = np.arange(*piece.indices(self.shape[0]))
        images = self._store.gather(self._first + rows % self._count)
        mirrored = rows >= self._count
        images[mirrored] = images[mirrored][:, :, ::-1]
        return images.reshape(len(rows), -1).astype(np.float32)

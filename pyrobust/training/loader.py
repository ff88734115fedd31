"""From two sample stores to augmented batches on the device."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pyrobust import ops
from pyrobust.data.store import SampleStore, label_type
from pyrobust.training.batches import Batch, BatchPlan
from pyrobust.training.data_parallel import Processes

# Images that are copied to the device at once.
_BLOCK = 1 << 16

# A look-up of images: a slice of a batch to (uint8 images (M, H, W, C) on the device, rows (B,)).
Rows = Callable[[Batch], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Augmentation:
    """Random crop after `padding` zeros on each side, and random mirroring."""

    padding: int
    flip: bool


@dataclass(frozen=True)
class TrainingBatch:
    """This process's slice of a batch.

    Attributes:
        x: (B, C, H, W) float32 in [0, 1], augmented.
        labels: (B,) int64.
        target_probs: (B, K) float32, labels after smoothing.
        positions: (B,) int64, places in the whole batch; they seed what is random about an image.
    """

    x: Tensor
    labels: Tensor
    target_probs: Tensor
    positions: Tensor


class Loader:
    """Makes batch `step` from its number alone.

    Args:
        resident_bytes: both stores are kept on the device as one uint8 tensor if they are not
            larger than this; else rows are read through memory maps, one batch ahead. The batches
            are the same.
        smoothing: (originals', generated images') label smoothing.
    """

    def __init__(
        self,
        plan: BatchPlan,
        original: SampleStore,
        generated: SampleStore | None,
        augmentation: Augmentation,
        smoothing: tuple[float, float],
        processes: Processes,
        resident_bytes: int,
        channels_last: bool,
    ) -> None:
        self._plan, self._augmentation = plan, augmentation
        self._processes, self._channels_last = processes, channels_last
        stores = [original] if generated is None else [original, generated]
        num_classes = len(original.class_names)
        # As small as they can be: a hundred million labels are then 100 MB.
        kind = label_type(num_classes)
        self._labels = [store.labels(kind) for store in stores]
        self._targets = target_table(num_classes, smoothing).to(processes.device)
        size = sum(store.count * int(np.prod(store.image_shape)) for store in stores)
        self._rows: Rows = (
            _resident_rows(stores, processes.device)
            if size <= resident_bytes
            else _mapped_rows(stores, processes.device)
        )
        self._ahead = ThreadPoolExecutor(max_workers=1)
        self._next: tuple[int, Future[_Read]] | None = None

    def batch(self, step: int) -> TrainingBatch:
        """Return the batch of `step`, and start to read the next one."""
        if self._next is None or self._next[0] != step:
            self._next = (step, self._ahead.submit(self._read, step))
        read = self._next[1].result()
        self._next = (step + 1, self._ahead.submit(self._read, step + 1))
        x = ops.gather_augment(
            read.images,
            read.rows,
            read.positions,
            self._plan.seed,
            step,
            self._augmentation.padding,
            self._augmentation.flip,
            channels_last=self._channels_last,
        )
        return TrainingBatch(x, read.labels, read.target_probs, read.positions)

    def _read(self, step: int) -> "_Read":
        """Bring to the device what batch `step` needs, in a thread of its own.

        Copies to a GPU wait for the kernels before them, and so the thread that launches kernels
        must not make them.
        """
        device = self._processes.device
        chosen = self._plan.batch(step, self._processes.rank, self._processes.world_size)
        images, rows = self._rows(chosen)
        labels = torch.from_numpy(self._labels_of(chosen)).to(device)
        sources = torch.from_numpy(chosen.generated.astype(np.int64)).to(device)
        positions = torch.from_numpy(chosen.positions).to(device)
        return _Read(images, rows, labels, self._targets[sources, labels], positions)

    def _labels_of(self, batch: Batch) -> np.ndarray:
        labels = np.empty(len(batch.index), dtype=np.int64)
        for source, known in enumerate(self._labels):
            here = batch.generated == source
            labels[here] = known[batch.index[here]]
        return labels


@dataclass(frozen=True)
class _Read:
    """What a batch is made of, on the device: rows of `images`, and as in `TrainingBatch`."""

    images: Tensor
    rows: Tensor
    labels: Tensor
    target_probs: Tensor
    positions: Tensor


def target_table(num_classes: int, smoothing: tuple[float, float]) -> Tensor:
    """Return the target probabilities by source and label, (2, K, K) float32.

    Smoothing s makes them (1 - s) × one-hot + s / K.
    """
    one_hot = torch.eye(num_classes)
    return torch.stack([(1 - s) * one_hot + s / num_classes for s in smoothing])


def _resident_rows(stores: list[SampleStore], device: torch.device) -> Rows:
    count, offset = sum(store.count for store in stores), stores[0].count
    images = torch.empty((count, *stores[0].image_shape), dtype=torch.uint8, device=device)
    for store, start in zip(stores, (0, offset), strict=False):
        for first, block in store.blocks(_BLOCK):
            row = start + first
            images[row : row + len(block)] = torch.from_numpy(block)

    def rows(batch: Batch) -> tuple[Tensor, Tensor]:
        index = batch.index + batch.generated * offset
        return images, torch.from_numpy(index).to(device)

    return rows


def _mapped_rows(stores: list[SampleStore], device: torch.device) -> Rows:
    def rows(batch: Batch) -> tuple[Tensor, Tensor]:
        images = np.empty((len(batch.index), *stores[0].image_shape), dtype=np.uint8)
        for source, store in enumerate(stores):
            here = batch.generated == source
            images[here] = store.gather(batch.index[here])
        return torch.from_numpy(images).to(device), torch.arange(len(images), device=device)

    return rows

"""From two sample stores to augmented batches on the device."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
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


class Copies:
    """Copies from the host to a device, which on a GPU wait for no kernel and hold none up.

    On a GPU they go from pinned memory through a stream of their own; `take` makes the work that
    follows wait for them. Elsewhere they are plain copies.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = (
            torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            if device.type == "cuda"
            else None
        )

    def __call__(self, array: np.ndarray) -> Tensor:
        """Return a copy of `array` on the device; on a GPU call it inside `made_aside`."""
        tensor = torch.from_numpy(array)
        if self._stream is not None:
            tensor = tensor.pin_memory()
        return tensor.to(self._device, non_blocking=True)

    @contextmanager
    def made_aside(self) -> Iterator[None]:
        """Run the block's work on the device in the stream of the copies."""
        with torch.cuda.stream(self._stream) if self._stream is not None else nullcontext():
            yield

    def mark(self) -> torch.cuda.Event | None:
        """Return what becomes true when all copies so far are there."""
        return None if self._stream is None else self._stream.record_event()

    def take(self, ready: torch.cuda.Event | None, tensors: Sequence[Tensor]) -> None:
        """Let the current stream wait for `ready` and use `tensors`, which were made aside."""
        if ready is not None:
            current = torch.cuda.current_stream(self._device)
            current.wait_event(ready)
            for tensor in tensors:
                tensor.record_stream(current)  # its memory is not reused before


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
        self._copies = Copies(processes.device)
        self._rows: Rows = (
            _resident_rows(stores, processes.device, self._copies)
            if size <= resident_bytes
            else _mapped_rows(stores, processes.device, self._copies)
        )
        self._ahead = ThreadPoolExecutor(max_workers=1)
        self._next: tuple[int, Future[_Read]] | None = None

    def batch(self, step: int) -> TrainingBatch:
        """Return the batch of `step`, and start to read the next one."""
        if self._next is None or self._next[0] != step:
            self._next = (step, self._ahead.submit(self._read, step))
        read = self._next[1].result()
        self._next = (step + 1, self._ahead.submit(self._read, step + 1))
        self._copies.take(read.ready, read.made_aside)
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
        """Copy the data of batch `step` to the device, in a separate thread."""
        chosen = self._plan.batch(step, self._processes.rank, self._processes.world_size)
        copies = self._copies
        with copies.made_aside():
            images, rows = self._rows(chosen)
            labels = copies(self._labels_of(chosen))
            sources = copies(chosen.generated.astype(np.int64))
            positions = copies(chosen.positions)
            target_probs = self._targets[sources, labels]
            return _Read(images, rows, labels, target_probs, positions, copies.mark())

    def _labels_of(self, batch: Batch) -> np.ndarray:
        labels = np.empty(len(batch.index), dtype=np.int64)
        for source, known in enumerate(self._labels):
            here = batch.generated == source
            labels[here] = known[batch.index[here]]
        return labels


@dataclass(frozen=True)
class _Read:
    """The data of a batch on the device: rows of `images`, and the fields of `TrainingBatch`."""

    images: Tensor
    rows: Tensor
    labels: Tensor
    target_probs: Tensor
    positions: Tensor
    ready: torch.cuda.Event | None

    @property
    def made_aside(self) -> tuple[Tensor, ...]:
        """All that the stream of the copies made, or only read."""
        return self.images, self.rows, self.labels, self.target_probs, self.positions


def target_table(num_classes: int, smoothing: tuple[float, float]) -> Tensor:
    """Return the target probabilities by source and label, (2, K, K) float32.

    Smoothing s makes them (1 - s) × one-hot + s / K.
    """
    one_hot = torch.eye(num_classes)
    return torch.stack([(1 - s) * one_hot + s / num_classes for s in smoothing])


def _resident_rows(stores: list[SampleStore], device: torch.device, copies: Copies) -> Rows:
    count, offset = sum(store.count for store in stores), stores[0].count
    images = torch.empty((count, *stores[0].image_shape), dtype=torch.uint8, device=device)
    for store, start in zip(stores, (0, offset), strict=False):
        for first, block in store.blocks(_BLOCK):
            row = start + first
            images[row : row + len(block)] = torch.from_numpy(block)

    def rows(batch: Batch) -> tuple[Tensor, Tensor]:
        index = batch.index + batch.generated * offset
        return images, copies(index)

    return rows


def _mapped_rows(stores: list[SampleStore], device: torch.device, copies: Copies) -> Rows:
    def rows(batch: Batch) -> tuple[Tensor, Tensor]:
        images = np.empty((len(batch.index), *stores[0].image_shape), dtype=np.uint8)
        for source, store in enumerate(stores):
            here = batch.generated == source
            images[here] = store.gather(batch.index[here])
        return copies(images), torch.arange(len(images), device=device)

    return rows

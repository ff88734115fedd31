"""Samples written, selected and read without a store: what `stores.py` compares with.

One `.npz` file that is loaded whole, as public code does it, and the bare disk and hash.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from store_work import CLASSES, PIECE, Work, take_batches

_MOST = 4_000_000_000  # bytes that show the speed of the disk


def write_in_memory(work: Work) -> Callable[[], object]:
    """Write one file of all samples."""

    def run() -> None:
        images, labels, scores = map(np.concatenate, zip(*work.pieces(work.size, 0), strict=True))
        _save(work.path("all.npz"), image=images, label=labels, score=scores)

    return run


def select_in_memory(work: Work) -> Callable[[], object]:
    """Keep the best of each class, shuffled."""

    def run() -> None:
        with np.load(work.path("all.npz")) as file:
            images, labels, scores = file["image"], file["label"], file["score"]
        quota, kept = work.kept // len(CLASSES), []
        for label in range(len(CLASSES)):
            rows = np.flatnonzero(labels == label)
            kept.append(rows[np.argsort(-scores[rows], kind="stable")[:quota]])
        rows = np.random.default_rng(0).permutation(np.concatenate(kept))
        _save(work.path("kept.npz"), image=images[rows], label=labels[rows], score=scores[rows])

    return run


def read_in_memory(work: Work) -> Callable[[], object]:
    """Take random batches."""
    with np.load(work.path("kept.npz")) as file:
        images = file["image"]
    return lambda: take_batches(work, images.__getitem__)


def bare_write(work: Work) -> Callable[[], object]:
    """Write as many bytes."""
    piece = np.random.default_rng(0).bytes(PIECE)
    sizes = (min(PIECE, bare_bytes(work) - first) for first in range(0, bare_bytes(work), PIECE))
    return lambda: _write(work.path("bare"), (piece[:size] for size in sizes))


def bare_copy(work: Work) -> Callable[[], object]:
    """Copy as many bytes of the parts."""
    return lambda: _write(
        work.path("bare"), _pieces(work, "parts/*/images-*.npy", bare_bytes(work))
    )


def bare_hashes(work: Work) -> Callable[[], object]:
    """Hash as many bytes of the selection."""

    def run() -> None:
        for piece in _pieces(work, "kept/*.npy", bare_bytes(work)):
            hashlib.sha256(piece).digest()

    return run


def bare_reading(work: Work) -> Callable[[], object]:
    """Take random batches of one memory-mapped file, in its order; it was read through before."""
    parts = (np.load(path, mmap_mode="r") for path in sorted(work.folder.glob("kept/images-*.npy")))
    _write(work.path("bare"), (part.data for part in parts))
    for _ in _pieces(work, "bare", work.kept * work.image_bytes):
        pass
    images = np.memmap(work.path("bare"), np.uint8, "r", shape=(work.kept, *work.image_shape))
    return lambda: take_batches(work, lambda rows: images[np.sort(rows)])


def bare_bytes(work: Work) -> int:
    """Return how many bytes the limits are measured with: those of the images kept, or 4 GB."""
    return min(work.kept * work.image_bytes, _MOST)


def _save(path: Path, **arrays: np.ndarray) -> None:
    """Write an `.npz` file and flush it."""
    with path.open("wb") as file:
        np.savez(file, **arrays)
        os.fsync(file.fileno())


def _write(path: Path, pieces: Iterator[bytes | memoryview]) -> None:
    """Write a file that is flushed after each piece, as shards are."""
    with path.open("wb") as file:
        for piece in pieces:
            file.write(piece)
            file.flush()
            os.fsync(file.fileno())


def _pieces(work: Work, pattern: str, most: int) -> Iterator[bytes]:
    """Yield the first `most` bytes of the files that match."""
    left = most
    for path in sorted(work.folder.glob(pattern)):
        with path.open("rb") as file:
            while piece := file.read(min(PIECE, left)):
                left -= len(piece)
                yield piece

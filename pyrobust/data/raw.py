"""What every layout of raw files is read as."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyrobust.data.images import RawImage
from pyrobust.data.store import check_labels
from pyrobust.errors import UserError
from pyrobust.files import sha256_of


@dataclass(frozen=True)
class RawSplit:
    """One split: the labels are known at once, images are decoded when they are asked for."""

    labels: np.ndarray  # (N,) int64
    read: Callable[[np.ndarray], Iterator[RawImage]]  # ascending rows -> their images, in order
    where: str


@dataclass(frozen=True)
class RawDataset:
    """A data set as its files hold it; without a test split one is held out of train."""

    class_names: tuple[str, ...]
    train: RawSplit
    test: RawSplit | None
    sources: dict[str, str]  # file name -> SHA-256
    channels: int | None = None  # where the layout knows; else the first image tells


def check_raw(raw: RawDataset) -> None:
    """Refuse labels out of range and classes without images.

    Raises:
        UserError: names the split, the row or the class.
    """
    num_classes = len(raw.class_names)
    if num_classes < 2:
        raise UserError(f"{raw.train.where} has {num_classes} class, expected two or more")
    for split in filter(None, (raw.train, raw.test)):
        check_labels(split.labels, num_classes, f"the labels of {split.where}")
        counts = np.bincount(split.labels, minlength=num_classes)
        if split is raw.train and (empty := np.flatnonzero(counts == 0)).size:
            raise UserError(
                f"class {empty[0]} ('{raw.class_names[empty[0]]}') has no image in {split.where}: "
                "remove the class or add images"
            )
        if not split.labels.size:
            raise UserError(f"{split.where} holds no image")


def array_split(images: np.ndarray, labels: np.ndarray, where: str) -> RawSplit:
    """Return a split of images (N, H, W, C) that are in memory."""

    def read(rows: np.ndarray) -> Iterator[RawImage]:
        for row in rows.tolist():
            yield RawImage(images[row], f"row {row} of {where}")

    return RawSplit(labels.astype(np.int64), read, where)


def hashes(root: Path, files: list[Path]) -> dict[str, str]:
    """Return the SHA-256 of each file by its name below `root`."""
    return {file.relative_to(root).as_posix(): sha256_of(file) for file in files}


def read_bytes(path: Path) -> bytes:
    """Return the contents of a file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error

"""Turn raw files into a data set: splits, stores, statistics of the training images."""

import math
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrobust.config.data import DatasetSettings
from pyrobust.cost import write_cost
from pyrobust.data.dataset import DATASET, SPLITS
from pyrobust.data.detect import detect_layout, read_layout
from pyrobust.data.permutation import permute
from pyrobust.data.raw import RawDataset, RawImage, RawSplit, check_raw, conform
from pyrobust.data.store import ImageShape, SampleStore, StoreWriter
from pyrobust.errors import UserError
from pyrobust.files import write_json
from pyrobust.progress import counting
from pyrobust.room import check_room


def hold_out(labels: np.ndarray, size: int, seed: int, setting: str) -> np.ndarray:
    """Return a mask of `size` rows with each class in its share of `labels`.

    Every class keeps at least one row that is not held out.

    Args:
        labels: (N,) classes.
        setting: name of the setting that `size` comes from, for messages.

    Raises:
        UserError: there are too few rows.
    """
    classes, counts = np.unique(labels, return_counts=True)
    if size > len(labels) - len(classes):
        raise UserError(
            f"{setting} is {size}, but only {len(labels)} images of {len(classes)} classes are "
            f"available and each class must keep one; use {len(labels) - len(classes)} or less"
        )
    held_out = np.zeros(len(labels), dtype=bool)
    for label, quota in zip(classes, _shares(counts, size), strict=True):
        rows = np.flatnonzero(labels == label)
        held_out[rows[permute(np.arange(quota), len(rows), seed, stream=int(label))]] = True
    return held_out


def _shares(counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Distribute `size` in proportion to `counts` - 1, largest remainders first."""
    room = counts - 1
    shares, remainders = np.divmod(room * size, room.sum())
    shares[np.argsort(-remainders, kind="stable")[: size - shares.sum()]] += 1
    return shares


_BLOCK = 500

# Settings that say how images are used later; changing them does not change the stores.
_USED_LATER = {"crop_padding", "flip", "path"}

_Rows = dict[str, tuple[RawSplit, np.ndarray]]  # split -> where its images are, and their rows


def make_dataset(name: str, data_root: Path, output: Path, settings: DatasetSettings) -> None:
    """Read raw files and write dataset.json with the stores train/, validation/ and test/.

    Images stay in the order of the raw files. Validation (and test, where the layout has none)
    is held out of train, stratified by class and seeded. A killed run resumes when run again;
    a failed one leaves nothing behind.

    Args:
        data_root: folder that holds the folder `name` of raw files, unless settings.path does.

    Raises:
        UserError: names the file, the row or the class that is wrong.
    """
    folder = Path(settings.path) if settings.path else data_root / name
    layout, raw = _read_raw(folder, name, settings.layout)
    write_dataset(name, raw, output, settings, layout)


def write_dataset(
    name: str,
    raw: RawDataset,
    output: Path,
    settings: DatasetSettings,
    layout: str,
    splits: Sequence[str] = SPLITS,
) -> None:
    """Write dataset.json with a store for each of `splits`.

    Args:
        layout: what dataset.json names as the layout of the raw files.
        splits: train and validation, and usually test.

    Raises:
        UserError: names the split, the row or the class that is wrong.
    """
    started = time.monotonic()
    check_raw(raw)
    rows = _divide(name, raw, settings, with_test="test" in splits)
    shape = _image_shape(rows["train"][0], raw, settings)
    images = sum(len(held) for _, held in rows.values())
    check_room(output, images * math.prod(shape), f"{name} with {images:,} images")
    try:
        (output / DATASET).unlink(missing_ok=True)
        for split in splits:
            _write_split(name, split, raw, rows[split], shape, output, settings, layout)
    except UserError:
        for split in splits:
            shutil.rmtree(output / split, ignore_errors=True)
        raise
    stores = {split: SampleStore.open(output / split) for split in splits}
    mean, std = channel_statistics(stores["train"])
    facts: dict[str, Any] = {
        "name": name,
        "settings": settings.model_dump(mode="json")
        | {"layout": layout, "validation_size": stores["validation"].count},
        "class_names": list(raw.class_names),
        "image_shape": list(shape),
        "counts": {split: store.count for split, store in stores.items()},
        "manifests": {split: store.sha256 for split, store in stores.items()},
        "mean": mean,
        "std": std,
        "sources": raw.source_hashes,
    }
    seconds = time.monotonic() - started
    write_cost(output / "cost.json", seconds, "cpu", sum(facts["counts"].values()) / seconds)
    write_json(output / DATASET, facts)


def check_settings(name: str, folder: Path, settings: DatasetSettings) -> None:
    """Refuse settings and folders that `make_dataset` would refuse, without reading the images.

    Labels and one image are read.

    Raises:
        UserError: as `make_dataset` raises it.
    """
    _, raw = _read_raw(folder, name, settings.layout)
    check_raw(raw)
    rows = _divide(name, raw, settings, with_test=True)
    _image_shape(rows["train"][0], raw, settings)


def make_test_store(folder: Path, output: Path) -> SampleStore:
    """Write the test images of a folder of raw files as one store, without a data set.

    They are those of its test split, or all images where no file names a split.

    Raises:
        UserError: the folder has a training split alone, or a file is damaged.
    """
    name, settings = folder.resolve().name, DatasetSettings()
    layout, raw = _read_raw(folder, name, settings.layout)
    if not raw.names_splits:
        raw = replace(raw, train=None, test=raw.train)
    check_raw(raw)
    split = raw.test
    if split is None:
        raise UserError(
            f"{folder} has no test images; add test/<class>/*.png, or <class>/*.png without splits"
        )
    shape = _image_shape(split, raw, settings)
    count = len(split.labels)
    check_room(output, count * math.prod(shape), f"{name} with {count:,} images")
    source = (split, np.arange(count))
    _write_split(name, "test", raw, source, shape, output, settings, layout)
    return SampleStore.open(output / "test")


def _read_raw(folder: Path, name: str, layout: str) -> tuple[str, RawDataset]:
    """Return the layout of the raw files, and what they hold."""
    found = detect_layout(folder, name) if layout == "auto" else layout
    return found, read_layout(found, folder, name)


def channel_statistics(store: SampleStore) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each channel, pixels in [0, 1].

    The sums are of integers, hence exact and the same in any order.
    """
    channels = store.image_shape[2]
    sums, squares = np.zeros(channels, np.int64), np.zeros(channels, np.int64)
    for _, images in store.blocks(_BLOCK):
        pixels = images.reshape(-1, channels).astype(np.int64)
        sums += pixels.sum(axis=0)
        squares += (pixels * pixels).sum(axis=0)
    count = store.count * store.image_shape[0] * store.image_shape[1]
    mean = sums / count
    std = np.sqrt(squares / count - mean**2)
    return (mean / 255).tolist(), (std / 255).tolist()


def _divide(name: str, raw: RawDataset, settings: DatasetSettings, with_test: bool) -> _Rows:
    """Return the rows of the raw splits that go to train, validation and, if asked for, test."""
    if raw.train is None:
        raise UserError(
            f"{name} has no training images; add train/<class>/*.png, or evaluate a model on "
            "the test images with 'pyrobust evaluate --images FOLDER'"
        )
    rows = np.arange(len(raw.train.labels))
    divided: _Rows = {}
    if with_test:
        rows, divided["test"] = _divide_test(name, raw, raw.train, settings)
    if raw.validation is not None:
        count = len(raw.validation.labels)
        if "validation_size" in settings.model_fields_set and settings.validation_size != count:
            raise UserError(
                f"validation_size is {settings.validation_size}, but {name} already has a "
                f"validation split of {count} images; remove validation_size"
            )
        divided["validation"] = (raw.validation, np.arange(count))
        return {**divided, "train": (raw.train, rows)}
    # Another seed than that of the test split, or both would hold out the same positions.
    held_out = hold_out(
        raw.train.labels[rows], settings.validation_size, settings.seed + 1, "validation_size"
    )
    divided["validation"] = (raw.train, rows[held_out])
    return {**divided, "train": (raw.train, rows[~held_out])}


def _divide_test(
    name: str, raw: RawDataset, train: RawSplit, settings: DatasetSettings
) -> tuple[np.ndarray, tuple[RawSplit, np.ndarray]]:
    """Return the rows of the training split that remain, and those of the test split."""
    rows = np.arange(len(train.labels))
    if raw.test is not None:
        if settings.test_size:
            raise UserError(
                f"test_size is {settings.test_size}, but {name} already has a test split of "
                f"{len(raw.test.labels)} images; remove test_size"
            )
        return rows, (raw.test, np.arange(len(raw.test.labels)))
    if settings.test_size == 0:
        raise UserError(
            f"{name} has no test split; set test_size (for example --test-size {len(rows) // 5})"
        )
    held_out = hold_out(train.labels, settings.test_size, settings.seed, "test_size")
    return rows[~held_out], (train, rows[held_out])


def _image_shape(split: RawSplit, raw: RawDataset, settings: DatasetSettings) -> ImageShape:
    height, width, channels = next(split.read(np.array([0]))).pixels.shape
    if settings.image_size is not None:
        height = width = settings.image_size
    return (height, width, settings.channels or raw.channels or channels)


def _write_split(
    name: str,
    split: str,
    raw: RawDataset,
    source: tuple[RawSplit, np.ndarray],
    shape: ImageShape,
    output: Path,
    settings: DatasetSettings,
    layout: str,
) -> None:
    raw_split, rows = source
    provenance = {
        "dataset": name,
        "split": split,
        "settings": settings.model_dump(mode="json", exclude=_USED_LATER) | {"layout": layout},
        "sources": raw.source_hashes,
    }
    writer = StoreWriter(
        output / split,
        shape,
        raw.class_names,
        len(rows),
        provenance,
        made_by=f"pyrobust dataset {name}",
    )
    may_resize = settings.image_size is not None
    write_images(writer, raw_split, rows, shape, may_resize, f"{name} {split}")


def write_images(
    writer: StoreWriter,
    split: RawSplit,
    rows: np.ndarray,
    shape: ImageShape,
    may_resize: bool,
    description: str,
) -> None:
    """Write these rows of a split with their labels, and finish the store.

    Args:
        may_resize: whether images of another size are resized instead of refused.
        description: what is written, for the progress line.
    """
    rows_left = rows[writer.count :]
    images = split.read(rows_left)
    with counting(len(rows), description, "images", done=writer.count) as advance:
        for block, labels in _blocks(images, split.labels[rows_left]):
            writer.append(np.stack([conform(image, shape, may_resize) for image in block]), labels)
            advance(len(block))
    writer.finish()


def _blocks(
    images: Iterator[RawImage], labels: np.ndarray
) -> Iterator[tuple[list[RawImage], np.ndarray]]:
    for first in range(0, len(labels), _BLOCK):
        yield list(islice(images, _BLOCK)), labels[first : first + _BLOCK]

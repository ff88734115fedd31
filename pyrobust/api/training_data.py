"""Training images from wherever the user holds them, as the folders that training reads."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from pyrobust.api.images import Images, Labels, labelled_images
from pyrobust.config import parse_settings
from pyrobust.config.data import DatasetSettings
from pyrobust.data import Dataset, SampleStore
from pyrobust.data.prepare import write_dataset, write_images
from pyrobust.data.raw import RawDataset, RawImage, RawSplit
from pyrobust.data.store import StoreWriter
from pyrobust.errors import UserError
from pyrobust.evaluation.labelled_images import IN_MEMORY, LabelledImages

Validation = int | Images | tuple[Images, Labels] | None

# Images held out where the user does not say how many: the paper's number, or a tenth.
_HELD_OUT, _SHARE = 1024, 10

_MADE_BY = "pyrobust.train"


def dataset_folder(
    images: Images,
    labels: Labels,
    validation: Validation,
    class_names: Sequence[str] | None,
    augmentation: dict[str, int | bool],
    folder: Path,
) -> Path:
    """Return the folder of a data set with the splits train and validation.

    Images in memory are written to `folder`, in 8 bits per channel.

    Args:
        validation: how many images to hold out, or others with their labels.
        class_names: of images in memory; None numbers the classes.
        augmentation: crop_padding and flip, where the user sets them.

    Raises:
        UserError: images, labels and validation do not fit each other.
    """
    if isinstance(images, str | os.PathLike | Dataset):
        if labels is not None or validation is not None or augmentation:
            given = ["labels"] if labels is not None else []
            given += ["validation"] if validation is not None else []
            raise UserError(
                f"the data set {images if not isinstance(images, Dataset) else images.path} "
                f"brings its own {', '.join([*given, *augmentation])}: leave them out"
            )
        return (images if isinstance(images, Dataset) else Dataset.open(images)).path
    if isinstance(images, SampleStore) and class_names is None:
        class_names = images.class_names
    originals = labelled_images(images, labels, None)
    held_out: LabelledImages | None = None
    size = min(_HELD_OUT, max(1, originals.count // _SHARE))
    if isinstance(validation, int) and not isinstance(validation, bool):
        size = validation
    elif validation is not None:
        others, classes = validation if isinstance(validation, tuple) else (validation, None)
        held_out = labelled_images(others, classes, None)
        size = held_out.count
        _check_shape("validation images", held_out, originals.image_shape)
    settings = parse_settings(
        DatasetSettings, {"layout": "auto", "validation_size": size, **augmentation}
    )
    names = tuple(class_names or map(str, range(int(originals.labels.max()) + 1)))
    sources = {"images": originals.sha256}
    if held_out is not None:
        sources["validation"] = held_out.sha256
    raw = RawDataset(
        names,
        train=_split(originals, "the images"),
        test=None,
        sources=sources,
        validation=None if held_out is None else _split(held_out, "the validation images"),
    )
    write_dataset(IN_MEMORY, raw, folder, settings, settings.layout, ("train", "validation"))
    return folder


def samples_folder(generated: Images, labels: Labels, dataset: Path, folder: Path) -> Path:
    """Return the folder of a store of generated images with labels.

    Raises:
        UserError: images and labels do not fit each other or the data set.
    """
    if isinstance(generated, str | os.PathLike | SampleStore):
        if labels is not None:
            raise UserError("the store of generated images brings its own labels: leave them out")
        return generated.path if isinstance(generated, SampleStore) else Path(generated)
    images, target = labelled_images(generated, labels, None), Dataset.open(dataset)
    _check_shape("generated images", images, target.image_shape)
    writer = StoreWriter(
        folder,
        target.image_shape,
        target.class_names,
        images.count,
        {"images": images.sha256},
        made_by=_MADE_BY,
    )
    split = _split(images, "the generated images")
    rows = np.arange(images.count)
    write_images(writer, split, rows, target.image_shape, False, "generated images")
    return folder


def names_of(generated: Images | None) -> tuple[str, ...] | None:
    """Return the class names of a store of generated images; None of others."""
    if isinstance(generated, str | os.PathLike):
        generated = SampleStore.open(generated)
    return generated.class_names if isinstance(generated, SampleStore) else None


def _check_shape(what: str, images: LabelledImages, expected: tuple[int, int, int]) -> None:
    if images.image_shape != expected:
        raise UserError(
            f"the {what} have shape {images.image_shape} (H, W, C), but the training images have "
            f"{expected}: resize them"
        )


def _split(images: LabelledImages, where: str) -> RawSplit:
    """Return images as a split, floating-point pixels rounded to the nearest of 256 shades."""

    def read(rows: np.ndarray) -> Iterator[RawImage]:
        for row in rows.tolist():
            pixels = images.read(range(row, row + 1))[0]
            if pixels.dtype != torch.uint8:
                pixels = (pixels * 255).round().to(torch.uint8)
            yield RawImage(pixels.permute(1, 2, 0).numpy(), f"row {row} of {where}")

    return RawSplit(images.labels, read, where)

"""Images and labels from wherever the user holds them: tensors, loaders, data sets, folders."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from pyrobust.data import Dataset, SampleStore
from pyrobust.data.dataset import DATASET
from pyrobust.errors import UserError
from pyrobust.evaluation.labelled_images import LabelledImages
from pyrobust.own_code import own_code

# (N, C, H, W) with (N,); or something that yields both; or a folder.
Images = (
    Tensor
    | np.ndarray
    | DataLoader[Any]
    | TorchDataset[Any]
    | Iterable[Any]
    | SampleStore
    | Dataset
    | str
    | os.PathLike[str]
)
Labels = Tensor | np.ndarray | Iterable[int] | None


def labelled_images(images: Images, labels: Labels, num_images: int | None) -> LabelledImages:
    """Return images with their labels, checked.

    Args:
        images: (N, C, H, W) floating-point in [0, 1] or uint8; a DataLoader or data set of
            (image, label); a `SampleStore`, a `Dataset` (its test split) or the folder of one.
        labels: (N,) integers; None where `images` brings them.
        num_images: read no more than these from a loader or data set.

    Raises:
        UserError: images or labels have another shape, type or range, or one of them is missing.
    """
    if isinstance(images, Tensor | np.ndarray):
        if labels is None:
            raise UserError("labels are missing: give the class of each image, shape (N,)")
        return LabelledImages.of_tensors(_tensor(images), _tensor(labels))
    if labels is not None:
        raise UserError(
            f"images are a {type(images).__name__}, which brings its own labels: leave labels out"
        )
    match images:
        case SampleStore():
            return LabelledImages.of_store(images, images.path.name, "samples")
        case Dataset():
            return LabelledImages.of_store(images.test, images.name, "test")
        case str() | os.PathLike():
            return _from_folder(Path(images))
        case DataLoader() | Iterable():
            return _collected(images, num_images, type(images).__name__)
        case _ if hasattr(images, "__getitem__") and hasattr(images, "__len__"):
            rows = (images[i] for i in range(len(images)))  # type: ignore[arg-type]
            return _collected(rows, num_images, type(images).__name__)
    raise UserError(
        f"images are a {type(images).__name__}, expected a tensor (N, C, H, W) with labels, a "
        "DataLoader, a Dataset, a SampleStore, or the folder of a data set"
    )


def _from_folder(path: Path) -> LabelledImages:
    if (path / DATASET).is_file() or path.name == DATASET:
        return LabelledImages.of_dataset(path)
    raise UserError(
        f"{path} is not a folder that 'pyrobust dataset' wrote: make one, or read your images into "
        "a tensor or a DataLoader"
    )


def _collected(batches: Iterable[Any], num_images: int | None, kind: str) -> LabelledImages:
    """Read (images, labels) batches, or (image, label) pairs, into memory.

    Args:
        kind: of the loader or data set, for the message if its code fails.
    """
    images: list[Tensor] = []
    labels: list[Tensor] = []
    count = 0
    for item in _items(batches, f"the {kind} of the images"):
        if not isinstance(item, tuple | list) or len(item) < 2:
            raise UserError(
                f"an item of the images is a {type(item).__name__}, expected (image, label) or "
                "(images, labels)"
            )
        x, y = _tensor(item[0]), _tensor(item[1])
        if y.ndim == 0:  # of one image
            x, y = x[None], y[None]
        elif x.ndim == 3 and len(y) == 1:  # of one image, whose label is an array of its own
            x = x[None]
        if images and (x.shape[1:], y.shape[1:]) != (images[0].shape[1:], labels[0].shape[1:]):
            raise UserError(
                f"image {count} has shape {tuple(x.shape[1:])} and its label {tuple(y.shape[1:])}, "
                f"but the first image {tuple(images[0].shape[1:])} and its label "
                f"{tuple(labels[0].shape[1:])}: resize all images to one shape"
            )
        images.append(x)
        labels.append(y)
        count += len(x)
        if num_images is not None and count >= num_images:
            break
    if not images:
        raise UserError("there are no images: the loader or data set is empty")
    keep = slice(0, num_images)
    return LabelledImages.of_tensors(torch.cat(images)[keep], torch.cat(labels)[keep])


def _items(batches: Iterable[Any], name: str) -> Iterator[Any]:
    """Yield the items of `batches`, whose code is the user's."""
    with own_code(name):
        iterator = iter(batches)
    while True:
        with own_code(name):
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item


def _tensor(values: Any) -> Tensor:
    if isinstance(values, Tensor):
        return values
    try:
        return torch.as_tensor(np.asarray(values))
    except (TypeError, ValueError) as error:
        raise UserError(
            f"a {type(values).__name__} is not an image or label that can be read as a tensor "
            f"({error}): add torchvision.transforms.ToTensor() to the data set"
        ) from error

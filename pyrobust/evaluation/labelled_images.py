"""The images that a model is evaluated on, from a data set, samples, or tensors."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrobust.data import Dataset, SampleStore
from pyrobust.data.prepare import make_test_store
from pyrobust.data.store import check_labels
from pyrobust.errors import UserError
from pyrobust.files import exclusive

# Row numbers, in any order.
Rows = range | NDArray[np.int64]
Split = Literal["train", "validation", "test"]

# Name of the data set of images that come without one.
IN_MEMORY = "images"


@dataclass(frozen=True)
class LabelledImages:
    """N images with their classes.

    Attributes:
        name: of the data set.
        split: of the data set, or samples.
        image_shape: (H, W, C).
        num_classes: of the data set; None where only the model says.
        labels: (N,) int64.
        sha256: changes with the images and labels.
        read: rows -> images (n, C, H, W), uint8 in 0..255 or float32 in [0, 1].
    """

    name: str
    split: str
    image_shape: tuple[int, int, int]
    num_classes: int | None
    labels: NDArray[np.int64]
    sha256: str
    read: Callable[[Rows], Tensor]

    @classmethod
    def of_dataset(cls, path: str | os.PathLike[str], split: Split = "test") -> Self:
        """Return a split of a folder that `pyrobust dataset` wrote."""
        dataset = Dataset.open(path)
        return cls.of_store(getattr(dataset, split), dataset.name, split)

    @classmethod
    def of_samples(cls, path: str | os.PathLike[str], dataset_path: str | os.PathLike[str]) -> Self:
        """Return labelled samples in place of a split of the data set they were generated for.

        Raises:
            UserError: they have another image shape or other classes.
        """
        store, dataset = SampleStore.open(path), Dataset.open(dataset_path)
        store.check_fits(dataset.test, "use samples from a generator trained on this data set")
        return cls.of_store(store, dataset.name, "samples")

    @classmethod
    def of_folder(cls, path: str | os.PathLike[str], output: Path) -> Self:
        """Return the test images of raw files, such as <class>/*.png, without a data set.

        Args:
            output: folder that their store is written to, unless it is there.

        Raises:
            UserError: there are no test images, or a file is damaged.
        """
        with exclusive(output):
            store = make_test_store(Path(path), output)
        return cls.of_store(store, Path(path).resolve().name, "test")

    @classmethod
    def of_store(cls, store: SampleStore, name: str, split: str) -> Self:
        """Return all images of a labelled store.

        Raises:
            UserError: the store has no labels.
        """

        def read(rows: Rows) -> Tensor:
            return torch.from_numpy(store.gather(np.asarray(rows))).permute(0, 3, 1, 2)

        num_classes = len(store.class_names)
        labels = store.labels()
        return cls(name, split, store.image_shape, num_classes, labels, store.sha256, read)

    @classmethod
    def of_tensors(
        cls, images: Tensor, labels: Tensor, num_classes: int | None = None, name: str = IN_MEMORY
    ) -> Self:
        """Return images that are in memory.

        Args:
            images: (N, C, H, W), floating-point in [0, 1] or uint8 in 0..255.
            labels: (N,), integers from 0.

        Raises:
            UserError: another shape or type, pixels outside of their range, or labels that are no
                classes.
        """
        _check_images(images)
        held = images.detach().cpu()
        held = held.contiguous() if held.dtype == torch.uint8 else held.float().contiguous()
        classes = _checked_labels(labels, len(images), num_classes)
        digest = hashlib.sha256(f"{tuple(held.shape)} {held.dtype}\n".encode())
        digest.update(held.numpy().tobytes())
        digest.update(classes.tobytes())
        _, channels, height, width = held.shape
        return cls(
            name,
            "test",
            (height, width, channels),
            num_classes,
            classes,
            digest.hexdigest(),
            lambda rows: held[torch.from_numpy(np.array(rows))],
        )

    @property
    def count(self) -> int:
        """N."""
        return len(self.labels)

    def load(self, rows: Rows, device: str | torch.device) -> tuple[Tensor, Tensor]:
        """Return images (n, C, H, W) float32 in [0, 1] and labels (n,) int64."""
        index = np.asarray(rows, dtype=np.int64)
        pixels = self.read(index)
        # On the host: a GPU multiplies by 1 / 255, which rounds every other shade differently.
        x = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
        return x.to(device).contiguous(), torch.from_numpy(self.labels[index]).to(device)


def _check_images(images: Tensor) -> None:
    if images.layout != torch.strided or images.is_nested or images.is_meta:
        raise UserError("images are sparse, nested or without values; expected a dense tensor")
    if images.ndim != 4 or 0 in images.shape:
        hint = ": permute them to channels first" if images.ndim == 4 else ""
        raise UserError(f"images have shape {tuple(images.shape)}, expected (N, C, H, W){hint}")
    if images.shape[1] > 4 >= images.shape[3]:
        raise UserError(
            f"images have shape {tuple(images.shape)}, which looks like (N, H, W, C); permute "
            "them to (N, C, H, W)"
        )
    if images.dtype == torch.uint8:
        return
    if not images.is_floating_point():
        raise UserError(
            f"images are {images.dtype}; expected floating-point pixels in [0, 1] or uint8"
        )
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):  # a comparison with NaN is False
        raise UserError(
            f"pixels range from {low:.4g} to {high:.4g}, but must be in [0, 1]; divide 0..255 "
            "pixels by 255, and pass the normalisation as mean and std"
        )


def _checked_labels(labels: Tensor, count: int, num_classes: int | None) -> NDArray[np.int64]:
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise UserError(f"labels are {labels.dtype}; expected integers, the class of each image")
    if tuple(labels.shape) != (count,):
        raise UserError(
            f"labels have shape {tuple(labels.shape)}; expected ({count},), one per image"
        )
    classes = labels.detach().cpu().numpy().astype(np.int64)
    check_labels(classes, num_classes or int(classes.max(initial=0)) + 1, "the labels")
    return classes

"""A data set: three sample stores, described by dataset.json."""

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from pyrobust.config import parse_settings
from pyrobust.config.data import DatasetSettings
from pyrobust.data.store import ImageShape, SampleStore
from pyrobust.files import described_by, read_json, sha256_of

DATASET = "dataset.json"
SPLITS = ("train", "validation", "test")


class Dataset:
    """Original images in three splits."""

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self.path = path
        self.name: str = facts["name"]
        self.settings = parse_settings(DatasetSettings, facts["settings"], path / DATASET)
        self.class_names: tuple[str, ...] = tuple(facts["class_names"])
        height, width, channels = facts["image_shape"]
        self.image_shape: ImageShape = (height, width, channels)
        # Of each channel of the training split, pixels in [0, 1].
        self.mean: tuple[float, ...] = tuple(facts["mean"])
        self.std: tuple[float, ...] = tuple(facts["std"])

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Dataset":
        """Open a folder that `pyrobust dataset` wrote.

        Raises:
            UserError: dataset.json is missing or invalid.
        """
        path = Path(path)
        facts = read_json(path / DATASET, "pyrobust dataset")
        with described_by(path / DATASET, "pyrobust dataset"):
            return cls(path, facts)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def crop_padding(self) -> int:
        """Zeros on each side before the random crop of training images."""
        return self.settings.crop_padding

    @property
    def flip(self) -> bool:
        """Whether training images are mirrored at random."""
        return self.settings.flip

    @property
    def sha256(self) -> str:
        """Hash of dataset.json, which holds the hash of each split's manifest."""
        return sha256_of(self.path / DATASET)

    @cached_property
    def train(self) -> SampleStore:
        """Training images, without those of `validation`."""
        return SampleStore.open(self.path / "train")

    @cached_property
    def validation(self) -> SampleStore:
        """Images held out of the training images, for early stopping."""
        return SampleStore.open(self.path / "validation")

    @cached_property
    def test(self) -> SampleStore:
        """Images of the test split."""
        return SampleStore.open(self.path / "test")

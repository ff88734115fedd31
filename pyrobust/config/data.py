"""Settings of the data stages: data sets, selection."""

import math
from typing import Annotated, Literal, get_args

from pydantic import Field

from pyrobust.config.base import Settings
from pyrobust.config.fields import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    Share,
    choice_or_import,
)
from pyrobust.errors import UserError

# Snakemake would take hours to plan more, and schedulers would reject them.
_MAX_PARTS = 100_000


LayoutName = Literal["digits", "torchvision", "parquet", "tinyimagenet", "folder", "npz"]


class DatasetSettings(Settings):
    """How a data set is read, split and augmented."""

    layout: Annotated[str, choice_or_import("auto", *get_args(LayoutName))] = "auto"
    """Layout of the raw files: digits, torchvision, parquet, tinyimagenet, folder, npz, or
    MODULE:NAME of a function that reads them (docs/extending.md). auto detects it from the folder's
    contents."""

    path: str | None = None
    """Folder of the raw files. Default: DATA_ROOT/<name of the data set>."""

    validation_size: PositiveInt = 1024
    """Training images held out for early stopping and for choosing among runs (appendix A)."""

    test_size: NonNegativeInt = 0
    """Images held out as the test split if the files provide none."""

    image_size: PositiveInt | None = None
    """Height and width to which images are resized; required if the raw images differ in size."""

    channels: Literal[1, 3] | None = None
    """1 for greyscale, 3 for colour. Default: the same as the first image."""

    crop_padding: NonNegativeInt = 4
    """Zero padding on each side before the random crop of training images."""

    flip: bool = True
    """Mirror training images at random; switch it off for digits and house numbers."""

    seed: NonNegativeInt = 0
    """Random seed of the splits."""


class SelectionSettings(Settings):
    """How labelled samples become a training set (appendix D)."""

    protocol: Literal["until_full", "top_k", "first"] = "until_full"
    """until_full keeps the first samples of each class by id (DDPM, Gaussian); top_k keeps those
    with the highest scores in each class (BigGAN, VDVAE); first keeps the first samples, whatever
    their class."""

    oversampling: Annotated[float, Field(ge=1)] = 1.25
    """Candidates as a multiple of num_samples. top_k ranks exactly these; until_full draws more if
    a class is still short, and first if too few have the least score or distance."""

    max_oversampling: Annotated[float, Field(ge=1)] = 20.0
    """until_full and first stop drawing at this multiple of num_samples; until_full reports the
    class that is still short."""

    label_source: Literal["labeller", "condition"] = "labeller"
    """Source of the labels: the labeller's prediction, or the class that the generator was
    conditioned on (for imported samples, their own labels). The score is the labeller's confidence
    in that class."""

    min_score: Share = 0.0
    """Discard samples with a lower score."""

    min_distance: NonNegativeFloat = 0.0
    """Discard near-copies of training images: samples within this root-mean-square pixel difference
    (pixels in [0, 1]) of one of them, or of its mirror image if the data set is mirrored. 0 keeps
    all samples and skips the search."""

    skip_samples: NonNegativeInt = 0
    """Skip the generator's samples with ids below this number (whole parts, rounded up), so that
    two selections share no image, whatever the size of a part. Use it for a test set of unseen
    samples (section 6.1, Figure 6)."""

    def first_part(self, part_size: int) -> int:
        """Return the number of the first part that the selection may use."""
        return -(-self.skip_samples // part_size)

    seed: NonNegativeInt = 0
    """Random seed of the order of the selected images; it does not affect which ones are
    selected."""

    def num_parts(self, num_samples: int, part_size: int) -> int:
        """Return the number of sampling jobs, of `part_size` images each, for `num_samples`.

        Raises:
            UserError: there would be too many.
        """
        count = math.ceil(num_samples * self.oversampling / part_size)
        if count > _MAX_PARTS:
            raise UserError(
                f"num_samples is {num_samples}, which requires {count} parts of {part_size} "
                f"images, more than the maximum of {_MAX_PARTS}; increase the generator's part_size"
            )
        return count

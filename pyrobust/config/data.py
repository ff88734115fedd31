"""Settings of the data stages: data sets, selection."""

from typing import Annotated, Literal

from pydantic import Field

from pyrobust.config.base import Settings
from pyrobust.config.fields import NonNegativeFloat, NonNegativeInt, PositiveInt, Share


class DatasetSettings(Settings):
    """How a data set is read and augmented."""

    layout: Literal["auto", "digits", "torchvision", "parquet", "tinyimagenet", "folder", "npz"] = (
        "auto"
    )
    """Layout of the raw files; auto looks at what the folder holds."""

    path: str | None = None
    """Folder of the raw files; the default is DATA_ROOT/<name of the data set>."""

    validation_size: PositiveInt = 1024
    """Training images held out for early stopping and for the choice among runs (appendix A)."""

    test_size: NonNegativeInt = 0
    """Images held out as the test split, for a layout that has none (digits, folder, npz)."""

    image_size: PositiveInt | None = None
    """Height and width that images are resized to; needed where the raw images differ in size."""

    channels: Literal[1, 3] | None = None
    """1 is grey, 3 is colour; the first image tells where not given."""

    crop_padding: NonNegativeInt = 4
    """Zeros on each side before the random crop of training images."""

    flip: bool = True
    """Whether training images are mirrored at random; wrong for digits and house numbers."""

    seed: NonNegativeInt = 0
    """Seed of the splits."""


class SelectionSettings(Settings):
    """How labelled samples become a training set (appendix D)."""

    protocol: Literal["until_full", "top_k"] = "until_full"
    """until_full: the first samples of each class by id (DDPM, Gaussian); top_k: the best scores
    of each class among all samples (BigGAN, VDVAE)."""

    oversampling: Annotated[float, Field(ge=1)] = 1.25
    """Samples as a multiple of the number kept: for top_k those that compete, for until_full
    those that are drawn before it looks which class is short."""

    max_oversampling: Annotated[float, Field(ge=1)] = 20.0
    """until_full goes on sampling up to this multiple, then names the class that stays short."""

    label_source: Literal["labeller", "condition"] = "labeller"
    """Whose class an image is given: the labeller's, or the one that the generator was asked for
    (or that came with imported samples); scores are the labeller's confidence in that class."""

    min_score: Share = 0.0
    """Score below which a sample is never kept."""

    min_distance: NonNegativeFloat = 0.0
    """Near-copies of training images are never kept: samples whose root mean square difference
    to one of them (pixels in [0, 1]; mirrored ones as well where the data set is mirrored) is
    below this. 0 keeps all, and no distance is computed."""

    skip_parts: NonNegativeInt = 0
    """Parts of the generator's samples that are passed over. A selection that skips what another
    one draws shares no image with it: a test set of unseen samples (section 6.1, Figure 6)."""

    seed: NonNegativeInt = 0
    """Seed of the order of the kept images, which decides nothing else."""

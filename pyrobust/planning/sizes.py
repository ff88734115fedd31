"""How many images a data set has, and how many bytes stages write for each (docs/formats.md)."""

import math
from dataclasses import dataclass
from pathlib import Path

from pyrobust.config.data import DatasetSettings
from pyrobust.config.generators import GeneratorSettings
from pyrobust.data.dataset import DATASET
from pyrobust.data.store import ImageShape
from pyrobust.errors import UserError
from pyrobust.files import described_by, read_json

_LABEL = _ID = 8
_SCORE = _LOGIT = 4

_INCEPTION_LOGITS = 1008

# By name, or by a layout that always has the same images: training images (including the
# validation split), test images, shape, classes.
_KNOWN: dict[str, tuple[int, int, ImageShape, int]] = {
    "digits": (1797, 0, (8, 8, 1), 10),
    "cifar10": (50_000, 10_000, (32, 32, 3), 10),
    "cifar100": (50_000, 10_000, (32, 32, 3), 100),
    "svhn": (73_257, 26_032, (32, 32, 3), 10),
    "tinyimagenet": (100_000, 10_000, (64, 64, 3), 200),
}


@dataclass(frozen=True)
class ImageCounts:
    """The images of a data set."""

    train: int
    validation: int
    test: int
    image_shape: ImageShape
    num_classes: int

    @property
    def all(self) -> int:
        """Images of all splits."""
        return self.train + self.validation + self.test


def count_images(name: str, settings: DatasetSettings, datasets: Path) -> ImageCounts:
    """Return the counts of a prepared data set, or of a well-known one.

    Args:
        datasets: folder of the data sets that were made.

    Raises:
        UserError: it was not prepared yet and is not well known.
    """
    path = datasets / name / DATASET
    if path.is_file():
        facts = read_json(path, "pyrobust dataset")
        with described_by(path, "pyrobust dataset"):
            height, width, channels = map(int, facts["image_shape"])
            return ImageCounts(
                **{split: int(count) for split, count in facts["counts"].items()},
                image_shape=(height, width, channels),
                num_classes=len(facts["class_names"]),
            )
    known = _KNOWN.get(name) or _KNOWN.get(settings.layout)
    if known is None:
        raise UserError(
            f"the size of the data set '{name}' is unknown until it is prepared; run "
            f"'snakemake --cores all {path}' first (with your --configfile, if it is defined there)"
        )
    train, test, (height, width, channels), classes = known
    side = settings.image_size
    return ImageCounts(
        train=train - settings.validation_size - settings.test_size,
        validation=settings.validation_size,
        test=test + settings.test_size,
        image_shape=(side or height, side or width, settings.channels or channels),
        num_classes=classes,
    )


def original_row(image_shape: ImageShape) -> int:
    """Return the bytes of an image with its label."""
    return math.prod(image_shape) + _LABEL


def sample_row(image_shape: ImageShape, settings: GeneratorSettings) -> int:
    """Return the bytes of a sample, with the class that it was asked to be of, if any."""
    return math.prod(image_shape) + settings.is_conditional * _LABEL


def label_row(settings: GeneratorSettings) -> int:
    """Return the bytes of a pseudo-label with its scores."""
    return _LABEL + _SCORE + settings.is_conditional * _SCORE


def selected_row(image_shape: ImageShape) -> int:
    """Return the bytes of a selected image with label, score and id."""
    return math.prod(image_shape) + _LABEL + _SCORE + _ID


def feature_row(extractor: str, dtype: str, dimensions: int, num_classes: int) -> int:
    """Return the bytes of an image's features with logits, row number and label."""
    num_logits = {"labeller": num_classes, "inception": _INCEPTION_LOGITS}.get(extractor, 0)
    value = 2 if dtype == "float16" else 4
    return value * dimensions + _LOGIT * num_logits + _ID + _LABEL


def gaussian(values: int, num_images: int, num_classes: int) -> int:
    """Return the bytes of a Gaussian of images of so many values, fitted on `num_images`.

    A class has a mean in float64 and a factor in float32: a Cholesky factor, or its centred images
    where they are fewer than the values.
    """
    columns = min(values * num_classes, num_images)
    return 4 * values * columns + 8 * num_classes * (values + 1)

"""How many images an experiment's data set holds, and of which shape."""

from dataclasses import dataclass
from pathlib import Path

from pyrobust.config.data import DatasetSettings
from pyrobust.data.dataset import DATASET
from pyrobust.data.store import ImageShape
from pyrobust.errors import UserError
from pyrobust.files import read_json

# Training images (the validation split among them), test images, shape, classes.
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
    """Return the counts of a data set that was made, or of one that everybody knows.

    Args:
        datasets: folder of the data sets that were made.

    Raises:
        UserError: it was not made yet, and nothing is known of it.
    """
    path = datasets / name / DATASET
    if path.is_file():
        facts = read_json(path, "pyrobust dataset")
        height, width, channels = facts["image_shape"]
        classes = len(facts["class_names"])
        return ImageCounts(
            **facts["counts"], image_shape=(height, width, channels), num_classes=classes
        )
    if name not in _KNOWN:
        raise UserError(
            f"nothing is known of the data set '{name}' before it is made: "
            f"'snakemake --cores all {path}' makes it"
        )
    train, test, (height, width, channels), classes = _KNOWN[name]
    side = settings.image_size
    return ImageCounts(
        train=train - settings.validation_size - settings.test_size,
        validation=settings.validation_size,
        test=test + settings.test_size,
        image_shape=(side or height, side or width, settings.channels or channels),
        num_classes=classes,
    )

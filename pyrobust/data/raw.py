"""What every layout of raw files is read as: images of one shape, labels, class names."""

import io
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from pyrobust.data.store import check_labels
from pyrobust.errors import UserError
from pyrobust.files import sha256_of

_CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
_CIFAR100 = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
    butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab
    crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard
    lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom
    oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
    possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake
    spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
    train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""

KNOWN: dict[str, tuple[str, ...]] = {
    "digits": tuple("0123456789"),
    "svhn": tuple("0123456789"),
    "cifar10": tuple(_CIFAR10.split()),
    "cifar100": tuple(_CIFAR100.split()),
}

CLASSES_FILE = "classes.txt"


def find_class_names(folder: Path, name: str, num_classes: int) -> tuple[str, ...]:
    """Return the class names of a data set whose files hold numbers only.

    They are the lines of `classes.txt` in `folder`, else those known for `name`, else numbers.

    Args:
        num_classes: one more than the largest label.

    Raises:
        UserError: `classes.txt` has fewer lines than there are classes.
    """
    file = folder / CLASSES_FILE
    if file.is_file():
        names = read_class_names(file)
        if len(names) < num_classes:
            raise UserError(f"{file} names {len(names)} classes, the labels reach {num_classes}")
        return names
    known = KNOWN.get(name, ())
    return known if len(known) >= num_classes else tuple(str(k) for k in range(num_classes))


def read_class_names(file: Path) -> tuple[str, ...]:
    """Return the lines of a file that are not empty."""
    lines = file.read_text(encoding="utf-8").split("\n")
    return tuple(line.strip() for line in lines if line.strip())


# Modes whose pixels are 8-bit shades of grey; all other 8-bit modes are converted to colour.
_GREY_MODES = ("1", "L")
_WIDE_MODES = ("I", "F")


@dataclass(frozen=True)
class RawImage:
    """One image as it was found, and where, for messages."""

    pixels: np.ndarray  # (H, W, C) uint8, C is 1 or 3
    where: str


def decode_image(data: bytes, where: str) -> RawImage:
    """Decode an image file that is held in memory.

    Raises:
        UserError: `data` is no whole image, or has more than 8 bits a channel.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                if image.mode.startswith(_WIDE_MODES):
                    raise UserError(f"{where} has mode {image.mode}, expected 8 bits a channel")
                pixels = np.asarray(image.convert("L" if image.mode in _GREY_MODES else "RGB"))
    except (
        OSError,
        SyntaxError,
        ValueError,
        UnidentifiedImageError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise UserError(f"{where} cannot be read as an image: {error}") from error
    return RawImage(pixels[:, :, None] if pixels.ndim == 2 else pixels, where)


def conform(image: RawImage, shape: tuple[int, int, int], may_resize: bool) -> np.ndarray:
    """Return the pixels of `image` in `shape` (H, W, C).

    Grey images become colour ones where the others are; the reverse would lose what tells
    classes apart and is refused.

    Args:
        may_resize: whether another height or width is resized (Lanczos) instead of refused.

    Raises:
        UserError: names the image, what it is and the setting that mends it.
    """
    pixels = image.pixels
    if pixels.shape[2] != shape[2]:
        if shape[2] == 1:
            raise UserError(
                f"{image.where} is in colour, expected one channel: "
                "set channels to 3 (--channels 3)"
            )
        pixels = np.repeat(pixels, 3, axis=2)
    if pixels.shape[:2] == shape[:2]:
        return pixels
    if not may_resize:
        raise UserError(
            f"{image.where} has {_size(pixels.shape)} pixels, expected {_size(shape)} as the "
            f"first one: set image_size (--image-size {min(shape[:2])}) to resize all of them"
        )
    return resize(pixels, shape[0], shape[1])


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return (H, W, C) uint8 pixels resized by Lanczos, without keeping the aspect ratio."""
    squeezed = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    resized = Image.fromarray(squeezed).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(resized).reshape(height, width, pixels.shape[2])


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}×{shape[1]}"


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

"""The common form of all layouts of raw files: images, labels, class names."""

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

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
            raise UserError(f"{file} names {len(names)} classes, but the labels use {num_classes}")
        return names
    known = KNOWN.get(name, ())
    return known if len(known) >= num_classes else tuple(str(k) for k in range(num_classes))


def read_class_names(file: Path) -> tuple[str, ...]:
    """Return the lines of a file that are not empty, made distinct.

    Raises:
        UserError: the file is not text.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text ({error}); save it as UTF-8") from error
    return distinct_names([line.strip() for line in lines if line.strip()])


def distinct_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return distinct class names, since results are stored by name.

    A name that several classes share gets their numbers: ImageNet has two cranes.
    """
    return tuple(
        f"{name} ({number})" if names.count(name) > 1 else name for number, name in enumerate(names)
    )


# Modes of more than 8 bits a channel; Pillow cuts colours of 16 bits to 8 as it opens them.
_WIDE_MODES = ("I", "F")
_WIDE_COLOUR = re.compile(r"'(LA|RGB|RGBA|RGBX|CMYK);16")
# 8-bit shades of grey, with or without transparency; all others are colours.
_GREY_MODES = ("1", "L", "LA", "La")


@dataclass(frozen=True)
class RawImage:
    """One image as stored, and its place, for messages."""

    pixels: np.ndarray  # (H, W, C) uint8, C is 1 or 3
    where: str


def decode_image(data: bytes, where: str) -> RawImage:
    """Decode an image file that is held in memory, upright as its EXIF orientation says.

    Raises:
        UserError: `data` is not a complete image, has several frames or more than 8 bits a channel,
            or is transparent somewhere.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                if (
                    image.mode.startswith(_WIDE_MODES)
                    or _WIDE_COLOUR.search(str(image.tile))
                    or _largest_of_ppm(image) > 255
                ):
                    raise UserError(
                        f"{where} has mode {image.mode} with more than 8 bits per channel; "
                        "convert it to 8 bits"
                    )
                if (frames := _frames(image)) > 1:
                    raise UserError(f"{where} has {frames} frames or pages; keep one of them")
                upright = ImageOps.exif_transpose(image)
                if _is_transparent(upright):
                    raise UserError(
                        f"{where} is partly transparent; flatten it onto a background first"
                    )
                pixels = np.asarray(upright.convert("L" if _is_grey(upright) else "RGB"))
    except UserError:
        raise
    except MemoryError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(f"{where} cannot be read as an image: no format is recognised") from error
    except Exception as error:  # whatever a damaged file makes one of the decoders raise
        raise UserError(f"{where} cannot be read as an image: {error}") from error
    return RawImage(pixels[:, :, None] if pixels.ndim == 2 else pixels, where)


def _largest_of_ppm(image: Image.Image) -> int:
    """Return the pixel value that a PPM file states for white, which Pillow scales to 255."""
    tiles = getattr(image, "tile", [])
    # Plugins of other packages have plain tuples.
    args = [tile[3] for tile in tiles if tile[0].startswith("ppm")]
    return int(args[0][1]) if args and isinstance(args[0], tuple) else 255


def _frames(image: Image.Image) -> int:
    """Return the number of images in a file; MPO, of cameras, has previews besides the photo."""
    return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)


def _is_transparent(image: Image.Image) -> bool:
    if not image.has_transparency_data:
        return False
    return int(np.asarray(image.convert("RGBA").getchannel("A")).min()) < 255


def _is_grey(image: Image.Image) -> bool:
    """Whether an image has one channel, or a palette of greys."""
    if image.mode not in ("P", "PA"):
        return image.mode in _GREY_MODES
    colours = np.asarray(image.convert("RGB"))
    return bool((colours == colours[:, :, :1]).all())


def conform(image: RawImage, shape: tuple[int, int, int], may_resize: bool) -> np.ndarray:
    """Return the pixels of `image` in `shape` (H, W, C).

    Greyscale images become colour images if the others are; the reverse would lose information
    about the class and is refused.

    Args:
        may_resize: whether another height or width is resized (Lanczos) instead of refused.

    Raises:
        UserError: names the image, what it is and the setting that mends it.
    """
    pixels = image.pixels
    if pixels.shape[2] != shape[2]:
        if shape[2] == 1:
            raise UserError(
                f"{image.where} is a colour image, but one channel is expected; set channels to "
                "3 (--channels 3)"
            )
        pixels = np.repeat(pixels, 3, axis=2)
    if pixels.shape[:2] == shape[:2]:
        return pixels
    if not may_resize:
        raise UserError(
            f"{image.where} has {_size(pixels.shape)} pixels, but the first image has "
            f"{_size(shape)}; set image_size to resize all images (for example --image-size "
            f"{min(shape[:2])})"
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
    """One split: labels in memory, images decoded on demand."""

    labels: np.ndarray  # (N,) int64
    read: Callable[[np.ndarray], Iterator[RawImage]]  # ascending rows -> their images, in order
    where: str


@dataclass(frozen=True)
class RawDataset:
    """A data set as its files hold it; splits that it lacks are held out of train."""

    class_names: tuple[str, ...]
    train: RawSplit | None
    test: RawSplit | None
    sources: dict[str, str] | Callable[[], dict[str, str]]  # file name -> SHA-256
    channels: int | None = None  # if the layout fixes it; else that of the first image
    validation: RawSplit | None = None
    names_splits: bool = True  # False where all images are `train` because no file says otherwise

    @cached_property
    def source_hashes(self) -> dict[str, str]:
        """File name -> SHA-256; a function as `sources` reads the files when first asked for."""
        return self.sources() if callable(self.sources) else self.sources


def check_raw(raw: RawDataset) -> None:
    """Refuse labels out of range and classes without images.

    Raises:
        UserError: names the split, the row or the class.
    """
    splits = [split for split in (raw.train, raw.validation, raw.test) if split is not None]
    num_classes = len(raw.class_names)
    if num_classes < 2:
        raise UserError(f"{num_classes} class in {splits[0].where}; at least two are required")
    for split in splits:
        check_labels(split.labels, num_classes, f"the labels of {split.where}")
        counts = np.bincount(split.labels, minlength=num_classes)
        if split is raw.train and (empty := np.flatnonzero(counts == 0)).size:
            raise UserError(
                f"class {empty[0]} ('{raw.class_names[empty[0]]}') has no images in "
                f"{split.where}; remove the class or add images"
            )
        if not split.labels.size:
            raise UserError(f"{split.where} contains no images")


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

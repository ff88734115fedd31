"""Image files and arrays to pixels of one shape, or to an error that names the row."""

import io
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from pyrobust.errors import UserError

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

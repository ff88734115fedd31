"""Images by mode, orientation and kind of file, and what they show."""

import io
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from PIL import Image

# EXIF orientation → how the shown pixels are turned into the stored ones.
_STORED = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: p[:, ::-1].swapaxes(0, 1)[:, :],
    7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
    8: lambda p: p[::-1].swapaxes(0, 1),
}
_SUFFIXES = {"PNG": ".png", "TIFF": ".tiff", "WEBP": ".webp", "BMP": ".bmp"}
_ORIENTED = ("PNG", "TIFF", "WEBP")


@dataclass(frozen=True)
class Odd:
    """How an image is kept.

    Args:
        kind: of the file, as Pillow names it.
        mode: of its pixels, as Pillow names it.
        orientation: of EXIF.
        transparent: whether a part of it is.
    """

    kind: str = "PNG"
    mode: str = "RGB"
    orientation: int = 1
    transparent: bool = False

    @property
    def suffix(self) -> str:
        return _SUFFIXES[self.kind]

    @property
    def is_refused(self) -> bool:
        """Whether its pixels cannot be told, or have more than 8 bits."""
        return self.transparent or self.mode == "I;16"


def shown(odd: Odd, pixels: np.ndarray) -> np.ndarray:
    """Return what an image of `pixels` (H, W, 3) shows, (H, W, 3) with equal channels if grey."""
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    if odd.mode == "1":
        grey = np.where(grey > 127, 255, 0).astype(np.uint8)
    return pixels if odd.mode in ("RGB", "RGBA") else np.repeat(grey[:, :, None], 3, axis=2)


def encode(odd: Odd, pixels: np.ndarray) -> bytes:
    """Return a file that shows `pixels` (H, W, 3) as far as its mode allows."""
    stored = np.ascontiguousarray(_STORED[odd.orientation](shown(odd, pixels)))
    image = Image.fromarray(stored)
    if odd.mode == "I;16":
        image = Image.fromarray(stored[:, :, 0].astype(np.uint16) * 257)
    elif odd.mode == "1":
        image = image.convert("1", dither=Image.Dither.NONE)
    elif odd.mode == "P":  # a palette of the greys
        image = image.convert("L").convert("P")
    else:
        image = image.convert(odd.mode)
    if odd.transparent:
        alpha = np.full(stored.shape[:2], 255, np.uint8)
        alpha[0, 0] = 0
        image.putalpha(Image.fromarray(alpha))
    options: dict[str, object] = {"lossless": True} if odd.kind == "WEBP" else {}
    if odd.orientation != 1:
        exif = Image.Exif()
        exif[0x0112] = odd.orientation
        options["exif"] = exif
    file = io.BytesIO()
    image.save(file, odd.kind, **options)
    return file.getvalue()


@st.composite
def odd_images(draw: st.DrawFn, may_be_refused: bool = True) -> Odd:
    """Draw a way to keep an image that its kind of file supports."""
    kind = draw(st.sampled_from(sorted(_SUFFIXES)))
    modes = {"PNG": ["L", "LA", "RGB", "RGBA", "P", "1"], "TIFF": ["L", "RGB", "RGBA", "1"]}
    mode = draw(st.sampled_from(modes.get(kind, ["RGB"])))
    orientation = draw(st.integers(1, 8)) if kind in _ORIENTED else 1
    odd = Odd(kind, mode, orientation)
    if not may_be_refused or kind == "BMP":
        return odd
    refused = [Odd("PNG", "I;16"), Odd("PNG", "RGB", orientation, transparent=True)]
    return draw(st.sampled_from([*[odd] * 30, *refused]))

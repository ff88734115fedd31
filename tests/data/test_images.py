"""Image files to pixels."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from pyrobust.data.raw import RawImage, conform, decode_image
from pyrobust.errors import UserError


def saved(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def encoded(mode: str) -> bytes:
    return saved(Image.new(mode, (3, 2), 1))


COLOURS = Image.fromarray(np.random.default_rng(0).integers(0, 256, (2, 3, 3), np.uint8))
GREYS = COLOURS.convert("L")


@pytest.mark.parametrize(
    ("image", "channels"),
    [
        (GREYS.convert("1"), 1),
        (GREYS, 1),
        (GREYS.convert("LA"), 1),
        (GREYS.convert("P"), 1),
        (COLOURS.quantize(6), 3),
        (COLOURS, 3),
        (COLOURS.convert("RGBA"), 3),
    ],
    ids=lambda value: getattr(value, "mode", None),
)
def test_modes_become_one_or_three_channels(image, channels):
    plain = np.asarray(image.convert("L" if channels == 1 else "RGB")).reshape(2, 3, channels)
    np.testing.assert_array_equal(decode_image(saved(image), "it").pixels, plain)


def half_transparent(mode: str) -> Image.Image:
    image = COLOURS.convert(mode)
    image.putalpha(Image.fromarray(np.array([[255, 0, 255]] * 2, np.uint8)))
    return image


@pytest.mark.parametrize(
    "data",
    [
        saved(half_transparent("RGB")),
        saved(half_transparent("L")),
        saved(COLOURS.quantize(6), transparency=0),
        saved(COLOURS, transparency=COLOURS.getpixel((0, 0))),
    ],
    ids=["RGBA", "LA", "palette", "one colour"],
)
def test_a_transparent_image_is_refused(data):
    with pytest.raises(
        UserError, match="it is partly transparent; flatten it onto a background first"
    ):
        decode_image(data, "it")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_an_image_is_turned_upright(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(COLOURS, kind, exif=exif, **options)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    shape = (2, 3, 3) if orientation < 5 else (3, 2, 3)
    pixels = decode_image(data, "it").pixels
    assert pixels.shape == shape
    np.testing.assert_array_equal(pixels, np.asarray(upright))


def wide_png() -> bytes:
    """A PNG of 16 bits a colour channel, which Pillow cuts to 8 without a word."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + name + content + check

    head = (2).to_bytes(4, "big") * 2 + bytes([16, 2, 0, 0, 0])
    rows = zlib.compress((b"\0" + bytes(12)) * 2)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def frames(kind: str) -> bytes:
    """A file of two images."""
    file, (one, two) = (
        io.BytesIO(),
        (Image.new("RGB", (2, 2), colour) for colour in ("red", "blue")),
    )
    one.save(file, kind, save_all=True, append_images=[two])
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it cannot be read as an image"),
        (wide_png(), "it has mode RGB with more than 8 bits per channel; convert it to 8 bits"),
        (encoded("RGB")[:40], "it cannot be read as an image"),
        (b"no image", "it cannot be read as an image: no format is recognised$"),
        (frames("GIF"), "it has 2 frames or pages; keep one of them"),
        (frames("TIFF"), "it has 2 frames or pages"),
        (b"P6 2 2 65535\n" + bytes(24), "it has mode RGB with more than 8 bits per channel"),
        (
            encoded("I;16"),
            "it has mode I;16 with more than 8 bits per channel; convert it to 8 bits",
        ),
    ],
)
def test_what_is_not_an_8_bit_image_is_refused(data, message):
    with pytest.raises(UserError, match=message):
        decode_image(data, "it")


def raw(*shape: int) -> RawImage:
    return RawImage(np.full(shape, 9, np.uint8), "row 3 of it")


@pytest.mark.parametrize(
    ("shape", "target", "may_resize"),
    [
        ((2, 3, 1), (2, 3, 1), False),
        ((2, 3, 1), (2, 3, 3), False),
        ((2, 3, 3), (4, 4, 3), True),
        ((9, 5, 1), (4, 4, 1), True),
        ((9, 5, 1), (4, 4, 3), True),
    ],
)
def test_images_conform_to_a_shape(shape, target, may_resize):
    pixels = conform(raw(*shape), target, may_resize)
    assert pixels.shape == target
    assert (pixels == 9).all()


@pytest.mark.parametrize(
    ("shape", "target", "message"),
    [
        (
            (2, 3, 3),
            (2, 3, 1),
            "row 3 of it is a colour image, but one channel is expected; set channels to 3",
        ),
        (
            (2, 3, 3),
            (4, 4, 3),
            "row 3 of it has 2×3 pixels, but the first image has 4×4; set image_size to",
        ),
    ],
)
def test_images_that_do_not_conform_are_refused(shape, target, message):
    with pytest.raises(UserError, match=message):
        conform(raw(*shape), target, may_resize=False)

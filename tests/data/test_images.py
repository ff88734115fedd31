"""Image files to pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from pyrobust.data.raw import RawImage, conform, decode_image
from pyrobust.errors import UserError


def encoded(mode: str, size: tuple[int, int] = (3, 2), kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, 1).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    ("mode", "channels"), [("1", 1), ("L", 1), ("P", 3), ("RGB", 3), ("RGBA", 3), ("LA", 3)]
)
def test_modes_become_one_or_three_channels(mode, channels):
    assert decode_image(encoded(mode), "it").pixels.shape == (2, 3, channels)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it cannot be read as an image"),
        (encoded("RGB")[:40], "it cannot be read as an image"),
        (encoded("I;16"), "it has mode I;16, expected 8 bits a channel"),
    ],
)
def test_what_is_no_8_bit_image_is_refused(data, message):
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
        ((2, 3, 3), (2, 3, 1), r"row 3 of it is in colour, expected one channel: set channels"),
        ((2, 3, 3), (4, 4, 3), r"has 2×3 pixels, expected 4×4 .* \(--image-size 4\)"),
    ],
)
def test_images_that_do_not_conform_are_refused(shape, target, message):
    with pytest.raises(UserError, match=message):
        conform(raw(*shape), target, may_resize=False)

"""Strips of images as PNG data, drawn pixel for pixel; the page enlarges them."""

import base64
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Pixels between two images of a strip.
_GAP = 1


def data_uri(png: bytes) -> str:
    """Return PNG data as an address that a page can hold."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def strip(images: NDArray[np.uint8]) -> str:
    """Return images side by side as the address of one PNG.

    Args:
        images: (N, H, W, C), C is 1 or 3.
    """
    count, height, width = images.shape[:3]
    canvas = np.zeros((height, count * (width + _GAP) - _GAP, 4), dtype=np.uint8)
    for index, image in enumerate(images):
        left = index * (width + _GAP)
        canvas[:, left : left + width, :3] = np.broadcast_to(image, (height, width, 3))
        canvas[:, left : left + width, 3] = 255
    buffer = BytesIO()
    Image.fromarray(canvas, "RGBA").save(buffer, format="PNG", optimize=True)
    return data_uri(buffer.getvalue())

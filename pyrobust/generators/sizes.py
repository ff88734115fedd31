"""The image sizes that networks are made for."""

from pyrobust.data.store import ImageShape
from pyrobust.errors import UserError


def square_side(image_shape: ImageShape) -> int:
    """Return height and width of images that are square, 4 times a power of two, at least 8.

    Raises:
        UserError: they are not.
    """
    height, width, _ = image_shape
    if height != width or height < 8 or height & (height - 1):
        raise UserError(
            f"images are {height}×{width}, expected 8×8, 16×16, 32×32 or another power of two: "
            "make the data set anew with --image-size"
        )
    return height

"""The radius of a perturbation set: read, and held against pixels in [0, 1]."""

import fractions
import math

from pyrobust.errors import UserError


def parse_epsilon(text: str) -> float:
    """Return the radius in `text`, such as "8/255" or "0.03"."""
    if "/" not in text:
        return float(text)
    numerator, denominator = text.split("/")
    return float(fractions.Fraction(numerator) / int(denominator))


def check_epsilon(norm: str, epsilon: str) -> None:
    """Require a radius that fits the pixel range.

    Raises:
        ValueError: epsilon is zero or less, or above 1 for linf.
    """
    radius = parse_epsilon(epsilon)
    if norm == "linf" and not 0 < radius <= 1:
        value = f" = {radius:.3g}" if "/" in epsilon else ""
        raise ValueError(
            f"epsilon is {epsilon}{value}, but pixels are in [0, 1]: for linf, use a value above 0 "
            "and at most 1"
        )
    if norm != "linf" and radius <= 0:
        raise ValueError(f"epsilon is {epsilon}, but must be above 0")


def check_radius(
    norm: str, epsilon: str, image_shape: tuple[int, int, int], name: str = "epsilon"
) -> None:
    """Require a ball that leaves out some images: radii in 0..255 are a common mistake.

    Args:
        name: of the setting.

    Raises:
        UserError: no two images of this shape with pixels in [0, 1] are as far apart as epsilon.
    """
    values = math.prod(image_shape)
    widest = {"linf": 1.0, "l2": math.sqrt(values), "l1": float(values)}[norm]
    if parse_epsilon(epsilon) > widest:
        raise UserError(
            f"{name} is {epsilon}, but images of shape {image_shape} with pixels in [0, 1] are at "
            f"most {widest:.3g} apart in {norm}; use a smaller radius, such as 128/255 for l2"
        )

"""Bytes that stages write for each image, and for a Gaussian (docs/formats.md)."""

import math

from pyrobust.config.generators import GeneratorSettings
from pyrobust.data.store import ImageShape

_LABEL = _ID = 8
_SCORE = _LOGIT = 4

# Types whose images are asked to be of no class; edm has a setting of it.
_UNCONDITIONAL = ("ddpm", "vdvae")

_INCEPTION_LOGITS = 1008


def is_conditional(settings: GeneratorSettings) -> bool:
    """Return whether the images of a generator are asked to be of a class."""
    if settings.conditional is None:
        return settings.type not in _UNCONDITIONAL
    return settings.conditional


def original_row(image_shape: ImageShape) -> int:
    """Return the bytes of an image with its label."""
    return math.prod(image_shape) + _LABEL


def sample_row(image_shape: ImageShape, settings: GeneratorSettings) -> int:
    """Return the bytes of a sample, with the class that it was asked to be of, if any."""
    return math.prod(image_shape) + is_conditional(settings) * _LABEL


def label_row(settings: GeneratorSettings) -> int:
    """Return the bytes of a pseudo-label with its scores."""
    return _LABEL + _SCORE + is_conditional(settings) * _SCORE


def selected_row(image_shape: ImageShape) -> int:
    """Return the bytes of a selected image with label, score and id."""
    return math.prod(image_shape) + _LABEL + _SCORE + _ID


def feature_row(extractor: str, dtype: str, dimensions: int, num_classes: int) -> int:
    """Return the bytes of an image's features with logits, row number and label."""
    num_logits = {"labeller": num_classes, "inception": _INCEPTION_LOGITS}.get(extractor, 0)
    value = 2 if dtype == "float16" else 4
    return value * dimensions + _LOGIT * num_logits + _ID + _LABEL


def gaussian(values: int, num_images: int, num_classes: int) -> int:
    """Return the bytes of a Gaussian of images of so many values, fitted on `num_images`.

    A class has a mean in float64 and a factor in float32: a Cholesky factor, or its centred images
    where they are fewer than the values.
    """
    columns = min(values * num_classes, num_images)
    return 4 * values * columns + 8 * num_classes * (values + 1)

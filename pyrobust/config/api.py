"""Arguments of the Python interface that are not settings of a stage."""

from typing import Annotated

from pydantic import Field

from pyrobust.config.base import Settings
from pyrobust.config.fields import NonNegativeInt, PositiveFloat, PositiveInt


class AttackArguments(Settings):
    """Numbers of `pyrobust.attack`."""

    steps: PositiveInt | None
    restarts: PositiveInt
    batch_size: PositiveInt
    seed: NonNegativeInt


class SampleArguments(Settings):
    """Numbers of `pyrobust.sample`."""

    count: PositiveInt
    first_id: NonNegativeInt
    seed: NonNegativeInt | None


class ComplementarityArguments(Settings):
    """Numbers of `pyrobust.complementarity`."""

    components: PositiveInt
    seed: NonNegativeInt
    memory_gb: PositiveFloat


class ImageShape(Settings):
    """Shape of the images that a model is loaded for."""

    image_shape: Annotated[tuple[PositiveInt, ...], Field(min_length=3, max_length=3)]
    """(C, H, W)."""

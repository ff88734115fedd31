"""What defines a classifier apart from its weights, and who may state it."""

import dataclasses
import itertools
import math
from collections.abc import Mapping
from typing import Any, Self

from pyrobust.config.fields import check_architecture
from pyrobust.errors import UserError

# Mean and standard deviation, one number a channel each, for pixels in [0, 1].
Normalization = tuple[tuple[float, ...], tuple[float, ...]]

# Numbers that were rounded to float32 and back count as the same statement.
_SAME = 1e-5

# Begins the architecture of a network that was given in Python and not by name.
GIVEN = "given:"


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """Architecture and input of a classifier; kept in the metadata of its weights.

    Args:
        architecture: wrn-DEPTH-WIDTH with DEPTH = 6n + 4, resnet-18, resnet-34, MODULE:NAME of a
            constructor, or given:CLASS for a network that was given in Python.
        activation: silu or relu; only silu, the default, with MODULE:NAME.
        image_shape: (H, W, C).
        mean, std: one number a channel, for pixels in [0, 1].

    Raises:
        UserError: a value that no model has.
    """

    architecture: str
    activation: str
    num_classes: int
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check the values."""
        try:
            check_architecture(self.architecture)
        except ValueError as error:
            raise UserError(f"architecture is '{self.architecture}', {error}") from error
        if self.activation not in ("silu", "relu"):
            raise UserError(f"unknown activation '{self.activation}'; choose one of: silu, relu")
        if self.imported and self.activation != "silu":
            raise UserError(
                f"activation is '{self.activation}', but {self.architecture} chooses its own: "
                "leave it out"
            )
        if self.num_classes < 2:
            raise UserError(f"num_classes is {self.num_classes}; at least 2 are required")
        channels = self.image_shape[2]
        check_normalization((self.mean, self.std), channels)

    @property
    def imported(self) -> bool:
        """Whether the network is not one of this project's."""
        return ":" in self.architecture

    def to_json(self) -> dict[str, Any]:
        """Return the spec as plain JSON values."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(self).items()
        }

    @property
    def normalization(self) -> Normalization:
        """Mean and standard deviation of each channel."""
        return self.mean, self.std

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            UserError: the values are not those of a specification.
        """
        try:
            read: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value
                for key, value in values.items()
            }
            return cls(**read)
        except (AttributeError, TypeError, ValueError, IndexError) as error:
            raise UserError(f"{values!r} is not the specification of a model ({error})") from error


def check_normalization(normalization: Normalization, channels: int) -> None:
    """Check that there is a finite mean and a positive standard deviation for each channel.

    Raises:
        UserError: names the numbers and the channels.
    """
    mean, std = normalization
    if (
        not len(mean) == len(std) == channels
        or not all(map(math.isfinite, (*mean, *std)))
        or min(std) <= 0
    ):
        raise UserError(
            f"mean {mean} and std {std} do not match images with {channels} channels; give one "
            "finite number per channel, with std above 0"
        )


def stated_normalization(
    mean: tuple[float, ...], std: tuple[float, ...], channels: int
) -> Normalization | None:
    """Return what a user states as `mean` and `std`; a single number is for every channel.

    Returns None where both are empty.

    Raises:
        UserError: one is given without the other, or they do not fit the channels.
    """
    if not mean and not std:
        return None
    if not mean or not std:
        given, other = ("mean", "std") if mean else ("std", "mean")
        raise UserError(f"{given} is given without {other}; a normalisation requires both")
    stated = (mean * channels if len(mean) == 1 else mean, std * channels if len(std) == 1 else std)
    check_normalization(stated, channels)
    return stated


def agreed(fact: str, statements: Mapping[str, Any]) -> Any:
    """Return the value of a fact on which all sources agree; None if no source states it.

    Args:
        fact: what is stated, for the message.
        statements: who states it → the value, None where they do not; the owner first.

    Raises:
        UserError: names two who state different values.
    """
    made = [(who, value) for who, value in statements.items() if value is not None]
    for (who, value), (other, another) in itertools.pairwise(made):
        if not _same(value, another):
            raise UserError(
                f"the {fact} is {_readable(value)} according to {who}, but {_readable(another)} "
                f"according to {other}; omit or correct one of them"
            )
    return made[0][1] if made else None


def _readable(value: Any) -> str:
    """Return a value as text; a normalisation as `mean 0.5,0.5,0.5 and std 0.2,0.2,0.2`."""
    if not (isinstance(value, tuple) and isinstance(value[0], tuple)):
        return str(value)
    mean, std = (",".join(f"{number:.4g}" for number in part) for part in value)
    return f"mean {mean} and std {std}"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, abs_tol=_SAME)
    return bool(one == other)

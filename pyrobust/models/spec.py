"""What defines a classifier apart from its weights."""

import dataclasses
from typing import Any, Self

from pyrobust.config.fields import check_architecture
from pyrobust.errors import UserError


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """Architecture and input of a classifier; kept in the metadata of its weights.

    Args:
        architecture: wrn-DEPTH-WIDTH with DEPTH = 6n + 4, resnet-18 or resnet-34.
        activation: silu or relu.
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
            raise UserError(f"activation is '{self.activation}', expected silu or relu")
        if self.num_classes < 2:
            raise UserError(f"num_classes is {self.num_classes}, expected at least 2")
        channels = self.image_shape[2]
        if not len(self.mean) == len(self.std) == channels:
            raise UserError(
                f"mean {self.mean} and std {self.std} do not fit images of {channels} channels: "
                "expected one number a channel"
            )
        if min(self.std) <= 0:
            raise UserError(f"std is {self.std}, expected numbers above 0")

    def to_json(self) -> dict[str, Any]:
        """Return the spec as plain JSON values."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        read: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**read)

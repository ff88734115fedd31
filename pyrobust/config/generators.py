"""Settings of generators, and the presets of each type."""

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from pyrobust.config.base import Settings
from pyrobust.config.fields import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

GeneratorType = Literal["gaussian", "imported"]

# Type → preset → settings that this type has beside those of all types. `paper` is complete and
# says which settings there are; every other preset names what it changes.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "gaussian": {"paper": {"jitter": 1e-6}},
    "imported": {"paper": {}},
}

# What a type takes besides: a folder of weights or of samples that others published.
_TAKES_PATH = ("imported",)


def _of_preset(description: str) -> Any:
    """Return a field that is absent unless the type has it, and then has the preset's value."""
    return Field(default_factory=lambda: None, description=description)


class GeneratorSettings(Settings):
    """A generative model, fitted on the training split, or published samples."""

    type: GeneratorType = "gaussian"
    """Kind of model; gaussian is the class-conditional Gaussian of section 3.2, imported takes
    published samples."""

    preset: Literal["paper", "tiny"] = "paper"
    """Network and settings to start from, of types that are trained: those of the model's paper,
    or a network that learns 8×8 digits in a minute or two on two cores. A setting given beside it
    wins."""

    jitter: NonNegativeFloat = _of_preset(
        "For gaussian: added to the diagonal of each covariance (pixels in [0, 1]); constant "
        "pixels need it. Default 1e-06."
    )

    training_steps: PositiveInt = _of_preset("Updates of the weights.")
    batch_size: PositiveInt = _of_preset("Images of one update, all processes together.")
    learning_rate: PositiveFloat = _of_preset("Highest learning rate of the generator's network.")
    averaging_decay: Annotated[float, Field(ge=0, lt=1)] = _of_preset(
        "Decay of the weight average, which is what samples; the ramp is min(decay, (1 + t) / "
        "(10 + t))."
    )
    precision: Literal["float32", "bfloat16"] = _of_preset(
        "Of the network's passes, in training and in sampling; weights and losses are float32."
    )

    path: str | None = None
    """For imported: folder of the .npz files, read in the order of their names."""

    seed: NonNegativeInt = 0
    """Seed of the fit and of the samples: image i is a function of (weights, seed, i) alone."""

    part_size: PositiveInt = 100_000
    """Images that one sampling job makes."""

    @model_validator(mode="before")
    @classmethod
    def _start_from_preset(cls, values: dict[str, Any]) -> dict[str, Any]:
        given = {key: value for key, value in values.items() if value is not None}
        presets = PRESETS.get(given.get("type", "gaussian"), {})
        base = {**presets.get("paper", {}), **presets.get(given.get("preset", "paper"), {})}
        return {**base, **given}

    @model_validator(mode="after")
    def _check(self) -> "GeneratorSettings":
        presets = PRESETS[self.type]
        if self.preset not in presets:
            raise ValueError(
                f"preset is {self.preset}, expected {' or '.join(presets)} for type {self.type}"
            )
        if (self.type in _TAKES_PATH) != (self.path is not None):
            raise ValueError(
                f"path is {self.path!r} and type is {self.type}, expected a folder of .npz files "
                "for type imported, and none for other types"
            )
        for key, field in type(self).model_fields.items():
            is_foreign = field.default_factory is not None and key not in presets["paper"]
            if is_foreign and getattr(self, key) is not None:
                has = ", ".join(presets["paper"]) or "none but those of all types"
                raise ValueError(f"{key} is no setting of type {self.type}, which has {has}")
        return self

    @model_serializer(mode="wrap")
    def _without_absent(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what the type does not have."""
        return {key: value for key, value in serialize(self).items() if value is not None}

"""Settings of generators, and the presets of each type."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from pyrobust.config.base import Settings
from pyrobust.config.fields import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Share,
)
from pyrobust.config.generator_presets import PRESETS

GeneratorType = Literal["gaussian", "imported", "ddpm", "edm", "biggan", "vdvae", "stylegan2"]

# Settings of trained types that decide samples beside the weights, and those of all types that
# leave the weights alone.
_SAMPLING = ("sampler", "sampling_steps", "precision")
_NOT_FITTING = ("sampler", "sampling_steps", "part_size")

# Steps that a DDPM is trained for.
_ANCESTRAL_STEPS = 1000

# Types whose images do not come from a network.
_NOT_TRAINED = ("gaussian", "imported")


def _of_preset(description: str) -> Any:
    """Return a field that is absent unless the type has it, and then has the preset's value."""
    return Field(default_factory=lambda: None, description=description)


class GeneratorSettings(Settings):
    """A generative model, fitted on the training split, or published samples."""

    type: GeneratorType = "gaussian"
    """Kind of model; gaussian is the class-conditional Gaussian of section 3.2, ddpm that of Ho et
    al. 2020, edm that of Karras et al. 2022; imported takes published samples. biggan, vdvae and
    stylegan2 (with adaptive augmentation) are those of the paper's Table 1."""

    preset: Literal["paper", "small", "tiny"] = "paper"
    """Network and settings to start from, of types that are trained: those of the model's paper,
    a network for 32×32 images that starts to learn in an hour on two cores (ddpm only), or one
    that learns 8×8 digits in one to four minutes. A setting given beside it wins."""

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

    warmup_steps: NonNegativeInt = _of_preset("Updates over which the learning rate rises.")
    dropout: Annotated[float, Field(ge=0, lt=1)] = _of_preset(
        "Share of the activations that training drops."
    )
    conditional: bool = _of_preset("Whether the network is told the class of an image.")

    sampler: Literal["ancestral", "ddim", "dpm_solver"] = _of_preset(
        "For ddpm: ancestral is the paper's, one step for each of training; ddim and dpm_solver "
        "(DPM-Solver++ of second order, evenly in the logarithm of the signal-to-noise ratio) "
        "take sampling_steps. It may be changed without training anew."
    )
    sampling_steps: PositiveInt = _of_preset(
        "Steps from noise to image: for edm of Heun's method, two network passes each."
    )

    weight_decay: NonNegativeFloat = _of_preset("Of the weights, apart from the gradient (AdamW).")
    width: PositiveInt = _of_preset("Channels of the networks.")
    latent_size: PositiveInt = _of_preset(
        "Numbers of the latent; of vdvae, channels of each of its latents."
    )

    discriminator_steps: PositiveInt = _of_preset(
        "Updates of the discriminator to one of the generator, each of batch_size images."
    )
    initialization: Literal["normal", "orthogonal"] = _of_preset(
        "Initial weights: normal of deviation 0.02, or orthogonal."
    )

    mixtures: PositiveInt = _of_preset("Logistic components of the distribution of a pixel.")
    encoder_blocks: str = _of_preset(
        "Blocks from the image down: 32x11 is eleven at 32×32, 32d2 one that halves."
    )
    decoder_blocks: str = _of_preset(
        "Blocks, each with a latent, up to the image: 1x1 is one at 1×1, 4m1 one at 4×4 that takes "
        "in the state at 1×1."
    )

    r1_gamma: NonNegativeFloat = _of_preset("Weight of the R1 penalty.")
    augment_target: Share = _of_preset(
        "Overfitting (mean sign of the discriminator's scores of real images) that the "
        "probability of augmentations aims at; with 1 there are none."
    )
    augment_images: PositiveInt = _of_preset(
        "Real images in which that probability can go from 0 to 1."
    )

    path: str | None = None
    """For imported: folder of the .npz files, read in the order of their names. For types that are
    trained: folder whose weights are taken instead, of another generator of that type; for ddpm
    also one of diffusers' hub; for vdvae and stylegan2 also a file of published weights that
    'pyrobust convert' wrote."""

    seed: NonNegativeInt = 0
    """Seed of the fit and of the samples: image i is a function of (weights, seed, i) alone."""

    part_size: PositiveInt = 100_000
    """Images that one sampling job makes."""

    @model_validator(mode="before")
    @classmethod
    def _start_from_preset(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        given = {key: value for key, value in values.items() if value is not None}
        presets = PRESETS.get(str(given.get("type", "gaussian")), {})
        base = {**presets.get("paper", {}), **presets.get(str(given.get("preset", "paper")), {})}
        return {**base, **given}

    @model_validator(mode="after")
    def _check(self) -> "GeneratorSettings":
        presets = PRESETS[self.type]
        if self.preset not in presets:
            raise ValueError(
                f"preset is {self.preset}, expected {' or '.join(presets)} for type {self.type}"
            )
        if self.type in _NOT_TRAINED and (self.type == "imported") != (self.path is not None):
            raise ValueError(
                f"path is {self.path!r} and type is {self.type}, expected a folder of .npz files "
                "for type imported, one of weights or none for types that are trained, and none "
                "for gaussian"
            )
        if self.sampler == "ancestral" and self.sampling_steps != _ANCESTRAL_STEPS:
            raise ValueError(
                f"sampling_steps is {self.sampling_steps}, expected {_ANCESTRAL_STEPS} for the "
                "ancestral sampler, which takes all steps of training: name another sampler"
            )
        for key, field in type(self).model_fields.items():
            is_foreign = field.default_factory is not None and key not in presets["paper"]
            if is_foreign and getattr(self, key) is not None:
                has = ", ".join(presets["paper"]) or "none but those of all types"
                raise ValueError(f"{key} is no setting of type {self.type}, which has {has}")
        return self

    @property
    def images_per_step(self) -> int:
        """Training images that one update of the sampling network takes, all processes together.

        Each update of a discriminator to it takes a batch of its own.
        """
        return self.batch_size * (self.discriminator_steps or 1)

    @property
    def sampling_passes(self) -> int:
        """Passes of the network that make an image; Heun's method takes two a step but the last."""
        if self.sampling_steps is None:
            return 1
        return 2 * self.sampling_steps - 1 if self.type == "edm" else self.sampling_steps

    def sampling(self) -> dict[str, Any]:
        """Return the settings of a trained type that decide its samples beside the weights."""
        return {key: value for key, value in self.model_dump().items() if key in _SAMPLING}

    def fitting(self) -> dict[str, Any]:
        """Return the settings that decide the weights."""
        return {key: value for key, value in self.model_dump().items() if key not in _NOT_FITTING}

    @model_serializer(mode="wrap")
    def _without_absent(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what the type does not have."""
        return {key: value for key, value in serialize(self).items() if value is not None}

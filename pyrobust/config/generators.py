"""Settings of generators."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from pyrobust.config.base import Settings
from pyrobust.config.fields import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Precision,
    Share,
    choice_or_import,
)
from pyrobust.config.generator_types import KEEP_BEST, MEASURED, OWN_TYPE, TYPES

# Settings of trained types that affect samples besides the weights, and those of all types that
# leave the weights alone.
_SAMPLING = ("sampler", "sampling_steps", "precision")
_NOT_FITTING = ("sampler", "sampling_steps", "part_size")

# Steps that a DDPM is trained for.
_ANCESTRAL_STEPS = 1000


def optional_settings(kind: str) -> tuple[str, ...]:
    """Return the settings that a type has and that none of its presets sets."""
    own = TYPES.get(kind, OWN_TYPE)
    return own.optional + (MEASURED if own.is_trained else ())


def _of_preset(description: str) -> Any:
    """Return a field that is absent unless the type has it, and then has the preset's value."""
    return Field(default_factory=lambda: None, description=description)


class GeneratorSettings(Settings):
    """A generative model trained on the training split, or published samples."""

    type: Annotated[str, choice_or_import(*TYPES)] = Field(
        default="gaussian",
        description="; ".join(f"{name}: {kind.summary}" for name, kind in TYPES.items())
        + "; or MODULE:NAME of a class of your own (docs/extending.md), which may use any of the "
        "settings below.",
    )

    preset: Literal["paper", "small", "tiny"] = "paper"
    """Starting point for trained types. paper: the settings of the model's paper; small: a network
    for 32×32 images that starts to learn within an hour on 2 cores (ddpm and edm); tiny: a network
    that learns 8×8 digits within minutes. Individual settings override the preset."""

    jitter: NonNegativeFloat = _of_preset(
        "For gaussian: added to the diagonal of each covariance (pixels in [0, 1]); needed if "
        "pixels are constant. Default 1e-06."
    )

    training_steps: PositiveInt = _of_preset("Number of optimizer updates.")
    batch_size: PositiveInt = _of_preset("Images per update, over all processes.")
    learning_rate: PositiveFloat = _of_preset("Peak learning rate.")
    averaging_decay: Annotated[float, Field(ge=0, lt=1)] = _of_preset(
        "Decay of the exponential moving average of the weights, which generates the samples; ramp "
        "min(decay, (1 + t) / (10 + t))."
    )
    precision: Precision = _of_preset(
        "Precision of forward and backward passes in training and sampling; weights and losses are "
        "float32."
    )

    warmup_steps: NonNegativeInt = _of_preset("Updates of linear learning-rate warm-up.")
    dropout: Annotated[float, Field(ge=0, lt=1)] = _of_preset("Dropout rate.")
    conditional: bool = _of_preset("Condition the network on the class.")

    sampler: Literal["ancestral", "ddim", "dpm_solver"] = _of_preset(
        "For ddpm: ancestral is the paper's sampler and takes all 1,000 steps; ddim and dpm_solver "
        "(second-order DPM-Solver++, uniform in log-SNR) take sampling_steps. Changing it does not "
        "retrain the network."
    )
    sampling_steps: PositiveInt = _of_preset(
        "Steps from noise to image; edm evaluates the network twice per step (Heun), except in the "
        "last."
    )

    weight_decay: NonNegativeFloat = _of_preset("Decoupled weight decay (AdamW).")
    width: PositiveInt = _of_preset("Base number of channels.")
    latent_size: PositiveInt = _of_preset(
        "Dimension of the latent vector; for vdvae, channels of each latent."
    )

    discriminator_steps: PositiveInt = _of_preset(
        "Discriminator updates per generator update, each on its own batch."
    )
    initialization: Literal["normal", "orthogonal"] = _of_preset(
        "Weight initialization: normal with standard deviation 0.02, or orthogonal."
    )

    mixtures: PositiveInt = _of_preset("Logistic components of each pixel's distribution.")
    encoder_blocks: str = _of_preset(
        "Encoder blocks from the image down: 32x11 is eleven blocks at 32×32, 32d2 downsamples by "
        "2."
    )
    decoder_blocks: str = _of_preset(
        "Decoder blocks up to the image, each with a latent: 1x1 is one block at 1×1, 4m1 one at "
        "4×4 that starts from the upsampled 1×1 state."
    )

    r1_gamma: NonNegativeFloat = _of_preset("Weight of the R1 penalty.")
    augment_target: Share = _of_preset(
        "Target for the overfitting heuristic (mean sign of the discriminator's output on real "
        "images) that controls the augmentation probability; 1 disables augmentation."
    )
    augment_images: PositiveInt = _of_preset(
        "Real images over which the augmentation probability can rise from 0 to 1."
    )

    augment_probability: Annotated[float, Field(gt=0, le=1)] = _of_preset(
        "For edm: probability of each geometric transformation of a training image; the network "
        "is conditioned on them, so that samples show none. 0.12 in Karras et al. 2022. Default: "
        "no augmentation."
    )

    keep_best: Literal["fid"] = _of_preset(
        "Sample from the averaged weights of the lowest FID during training instead of the last "
        "ones, as the paper does for BigGAN. Needs fid_features. Default: the last ones."
    )
    fid_features: str = _of_preset(
        "For keep_best: features of the FID. File of the weights of FID-Inception "
        "(docs/analysis.md), or the labeller.json of a labeller."
    )
    fid_measures: PositiveInt = _of_preset(
        "For keep_best: how often the FID is measured, evenly spread over the training. Default "
        f"{KEEP_BEST['fid_measures']}."
    )
    fid_samples: Annotated[int, Field(ge=2)] = _of_preset(
        "For keep_best: samples per measurement, compared with all training images. Default "
        f"{KEEP_BEST['fid_samples']:,}."
    )

    path: str | None = None
    """For imported: folder of .npz files, read in alphabetical order. For trained types: pretrained
    weights to use instead of training, from the folder of another generator of that type. ddpm also
    accepts a folder in diffusers format; vdvae and stylegan2 also accept a file that 'pyrobust
    convert' wrote."""

    seed: NonNegativeInt = 0
    """Random seed of training and sampling; image i depends only on the weights, the seed and i."""

    part_size: PositiveInt = 100_000
    """Images per sampling job."""

    @model_validator(mode="before")
    @classmethod
    def _start_from_preset(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        given = {key: value for key, value in values.items() if value is not None}
        presets = TYPES.get(str(given.get("type", "gaussian")), OWN_TYPE).presets
        base = {**presets.get("paper", {}), **presets.get(str(given.get("preset", "paper")), {})}
        if "keep_best" in given:
            base.update(KEEP_BEST)
        return {**base, **given}

    @model_validator(mode="after")
    def _check(self) -> "GeneratorSettings":
        kind = TYPES.get(self.type, OWN_TYPE)
        presets = kind.presets
        if self.preset not in presets:
            raise ValueError(
                f"type {self.type} has no preset '{self.preset}'; use {' or '.join(presets)}"
            )
        if self.path is None and kind.path == "required":
            raise ValueError(f"type {self.type} requires path, a folder of .npz files")
        if self.path is not None and kind.path == "none":
            raise ValueError(f"path is {self.path!r}, but type {self.type} takes none; remove it")
        if self.sampler == "ancestral" and self.sampling_steps != _ANCESTRAL_STEPS:
            raise ValueError(
                f"sampling_steps is {self.sampling_steps}, but the ancestral sampler always takes "
                f"{_ANCESTRAL_STEPS}; use sampler ddim or dpm_solver"
            )
        own = [*presets["paper"], *optional_settings(self.type)]
        for key, field in type(self).model_fields.items() if kind is not OWN_TYPE else ():
            is_foreign = field.default_factory is not None and key not in own
            if is_foreign and getattr(self, key) is not None:
                choose = f"choose one of: {', '.join(own)}" if own else "remove it"
                raise ValueError(f"type {self.type} has no setting '{key}'; {choose}")
        given = [key for key in ("fid_features", *KEEP_BEST) if getattr(self, key) is not None]
        if self.keep_best is None and given:
            raise ValueError(f"{given[0]} has no effect without keep_best: fid; add it")
        if self.keep_best is not None and self.fid_features is None:
            raise ValueError(
                "keep_best is fid, which needs fid_features: a file of the weights of "
                "FID-Inception, or the labeller.json of a labeller"
            )
        return self

    @property
    def is_conditional(self) -> bool:
        """Whether samples are conditioned on a class."""
        always = TYPES.get(self.type, OWN_TYPE).conditional
        return bool(self.conditional) if always is None else always

    @property
    def images_per_step(self) -> int:
        """Training images per update of the sampling network, over all processes.

        Each discriminator update uses its own batch.
        """
        return self.batch_size * (self.discriminator_steps or 1)

    @property
    def sampling_passes(self) -> int:
        """Passes of the network that make an image."""
        if self.sampling_steps is None:
            return 1
        return TYPES.get(self.type, OWN_TYPE).passes_per_step * (self.sampling_steps - 1) + 1

    def sampling(self) -> dict[str, Any]:
        """Return the settings of a trained type that affect its samples besides the weights."""
        return {key: value for key, value in self.model_dump().items() if key in _SAMPLING}

    def fitting(self) -> dict[str, Any]:
        """Return the settings that decide the weights."""
        return {key: value for key, value in self.model_dump().items() if key not in _NOT_FITTING}

    @model_serializer(mode="wrap")
    def _without_absent(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what the type does not have."""
        return {key: value for key, value in serialize(self).items() if value is not None}

"""Settings of robust training and of the labeller, and the named recipes."""

from typing import Any, Literal

from pydantic import model_validator

from pyrobust.config.base import Settings
from pyrobust.config.fields import (
    Architecture,
    Epsilon,
    Fraction,
    NonNegativeFloat,
    NonNegativeInt,
    Norm,
    PositiveFloat,
    PositiveInt,
    Share,
    parse_epsilon,
)

# What each recipe sets apart from the defaults of TrainSettings, which are those of `gowal21`.
RECIPES: dict[str, dict[str, Any]] = {
    "gowal21": {},
    "wang23": {
        "batch_size": 512,
        "schedule": "cyclic",
        "trades_beta": 5.0,
        "label_smoothing_on": "all",
        "batch_norm_updates": "both",
        "averaging_start": 0.025,
        "attack_optimizer": "steepest",
        "attack_step_size": "2/255",
        "zero_logits": False,
    },
}

# What a recipe changes for l2: 2 × epsilon / attack_steps at the published radius of 128/255.
_RECIPES_L2: dict[str, dict[str, Any]] = {"wang23": {"attack_step_size": "25.6/255"}}


class TrainSettings(Settings):
    """TRADES with generated data; the defaults are the authors' own recipe (`gowal21`)."""

    recipe: Literal["gowal21", "wang23"] = "gowal21"
    """Named preset; a setting given beside it wins."""

    architecture: Architecture = "wrn-28-10"
    activation: Literal["silu", "relu"] = "silu"
    norm: Norm = "linf"
    epsilon: Epsilon = "8/255"

    mixing_factor: Share = 0.3
    """Alpha of Eq. 3: the share of original images in each batch; 1 uses no generated image."""

    epochs: PositiveFloat = 400.0
    """CIFAR-10-equivalent epochs: one is `epoch_size` images, whatever the data set."""

    epoch_size: PositiveInt = 50_000
    batch_size: PositiveInt = 1024

    learning_rate: PositiveFloat = 0.1
    """Rate for batches of up to 256; larger batches scale it by batch_size / 256."""

    schedule: Literal["cosine", "cyclic"] = "cosine"
    """cosine: per-step linear warm-up, then to zero; cyclic: one cycle from rate / 25, while the
    momentum goes from momentum + 0.05 to momentum - 0.05 and back (OneCycleLR)."""

    warmup: Share = 0.025
    """Share of the steps that the learning rate rises."""

    momentum: Share = 0.9
    weight_decay: NonNegativeFloat = 5e-4

    averaging_decay: Share = 0.995
    """Tau of the weight averaging; the ramp is min(tau, (1 + t) / (10 + t))."""

    averaging_start: Share = 0.0
    """Share of the steps before which the average is a plain copy."""

    trades_beta: NonNegativeFloat = 6.0
    label_smoothing: Share = 0.1
    label_smoothing_on: Literal["generated", "all"] = "generated"

    attack_optimizer: Literal["adam", "steepest"] = "adam"
    """adam: rate attack_step_size, a tenth of it in the second half (authors); steepest: steps of
    attack_step_size along the gradient's sign (sign-PGD), for l2 along the gradient."""

    attack_step_size: Fraction = "0.1"
    """In the [0, 1] pixel range. wang23: 2/255 for linf, 25.6/255 for l2."""

    attack_steps: NonNegativeInt = 10
    """Steps of the inner attack; 0 leaves the random start."""

    compiled_attack: bool = False
    """Whether torch.compile fuses the passes of the inner attack: faster after a minute or two of
    compiling, equal up to rounding."""

    batch_norm_updates: Literal["adversarial", "both"] = "adversarial"
    """Which passes move the running statistics of batch norm."""

    virtual_batch: NonNegativeInt = 0
    """Images that share batch statistics; 0 is the whole batch of a process. It divides the
    batch; the authors' machines had 32."""

    emulated_workers: PositiveInt = 1
    """Times that each original image appears in a batch, as on the authors' machines (4)."""

    zero_logits: bool = True
    """Whether the last layer starts at zero."""

    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = True

    validations: PositiveInt = 40
    """Times that the validation split is attacked (PGD-40) over a run, evenly spread."""

    seed: NonNegativeInt = 0

    @model_validator(mode="before")
    @classmethod
    def _start_from_recipe(cls, values: dict[str, Any]) -> dict[str, Any]:
        recipe = values.get("recipe", "gowal21")
        of_norm = _RECIPES_L2.get(recipe, {}) if values.get("norm") == "l2" else {}
        return {**RECIPES.get(recipe, {}), **of_norm, **values}

    @model_validator(mode="after")
    def _check(self) -> "TrainSettings":
        check_epsilon(self.norm, self.epsilon)
        if self.virtual_batch and self.batch_size % self.virtual_batch:
            raise ValueError(
                f"virtual_batch is {self.virtual_batch}, expected a divisor of batch_size, "
                f"{self.batch_size}"
            )
        return self


class LabellerSettings(Settings):
    """The non-robust classifier f_NR that labels generated images (section 3.3)."""

    architecture: Architecture = "wrn-28-10"
    activation: Literal["silu", "relu"] = "silu"
    epochs: PositiveFloat = 200.0
    epoch_size: PositiveInt = 50_000
    batch_size: PositiveInt = 128
    learning_rate: PositiveFloat = 0.1
    warmup: Share = 0.025
    momentum: Share = 0.9
    weight_decay: NonNegativeFloat = 5e-4
    averaging_decay: Share = 0.995
    label_smoothing: Share = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = True
    seed: NonNegativeInt = 0


def check_epsilon(norm: str, epsilon: str) -> None:
    """Refuse a radius that no pixel range can hold.

    Raises:
        ValueError: epsilon is zero or less, or above 1 for linf.
    """
    radius = parse_epsilon(epsilon)
    if norm == "linf" and not 0 < radius <= 1:
        raise ValueError(
            f"epsilon is {epsilon} = {radius:.3g}, expected above 0 and at most 1 for linf, "
            "since pixels lie in [0, 1]"
        )
    if norm == "l2" and radius <= 0:
        raise ValueError(f"epsilon is {epsilon}, expected above 0 for l2")

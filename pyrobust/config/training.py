"""Settings of robust training and of the labeller, and the named recipes."""

from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator

from pyrobust.config.base import Settings
from pyrobust.config.fields import (
    Architecture,
    Epsilon,
    Fraction,
    ImportPath,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Precision,
    Share,
    TrainingNorm,
)
from pyrobust.config.radius import check_epsilon

# What each recipe sets apart from the defaults of TrainSettings, which are those of `gowal21`.
RECIPES: dict[str, dict[str, Any]] = {
    "gowal21": {},
    # As the authors' code ran on its machines: batch norm over 32 images, and each original image
    # four times in a batch.
    "authors": {"virtual_batch": 32, "emulated_workers": 4},
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


# The settings that each objective reads; an objective MODULE:NAME may read all of them.
OBJECTIVE_SETTINGS: dict[str, tuple[str, ...]] = {
    "trades": ("trades_beta", "batch_norm_updates"),
    "adversarial_training": (),
    "mart": ("mart_lambda", "batch_norm_updates"),
    "ibp": ("ibp_kappa", "ibp_ramp"),
}

# Settings that came after the first trainings, with the value that those had.
LATER = {
    "objective": "trades",
    "mart_lambda": 5.0,
    "ibp_kappa": 0.5,
    "ibp_ramp": 0.5,
    "awp_gamma": 0.0,
    "gap_images": 256,
}


_OWN_ACTIVATION = (
    "the constructor of the architecture sets its own; leave it out, or use wrn-DEPTH-WIDTH or "
    "resnet-18"
)


def _of_recipe(recipe: str, norm: str) -> dict[str, Any]:
    """Return what a recipe sets apart from the defaults."""
    of_norm = _RECIPES_L2.get(recipe, {}) if norm == "l2" else {}
    return {**RECIPES.get(recipe, {}), **of_norm}


class TrainSettings(Settings):
    """Robust training with generated data. The defaults are the paper's recipe (`gowal21`)."""

    recipe: Literal["gowal21", "authors", "wang23"] = "gowal21"
    """Preset of training settings: gowal21 (the paper), authors (as their code ran on its
    machines) or wang23 (Wang et al. 2023). Individual settings override it."""

    architecture: Architecture = "wrn-28-10"
    activation: Literal["silu", "relu"] = "silu"
    """Activation function of the network."""

    norm: TrainingNorm = "linf"
    """Norm of the perturbation set."""

    epsilon: Epsilon = "8/255"

    mixing_factor: Share = 0.3
    """Fraction of original images in each batch (alpha in Eq. 3); 1 trains without generated
    images."""

    epochs: PositiveFloat = 400.0
    """Epochs of `epoch_size` images each, original and generated together."""

    epoch_size: PositiveInt = 50_000
    """Images per epoch, whatever the size of the data set; 50,000 makes epochs comparable with
    CIFAR-10."""

    batch_size: PositiveInt = 1024
    """Images per step, over all processes."""

    learning_rate: PositiveFloat = 0.1
    """Peak learning rate for batches of up to 256 images; scaled by batch_size / 256 for larger
    ones."""

    schedule: Literal["cosine", "cyclic"] = "cosine"
    """cosine: linear warm-up, then cosine decay to 0, per step. cyclic: one cycle (OneCycleLR) from
    rate / 25, with momentum between momentum + 0.05 and momentum - 0.05."""

    warmup: Share = 0.025
    """Fraction of the steps during which the learning rate rises."""

    momentum: Share = 0.9
    """Nesterov momentum; the midpoint of the cycle with the cyclic schedule."""

    weight_decay: NonNegativeFloat = 5e-4
    """L2 penalty on all parameters outside batch norm."""

    averaging_decay: Share = 0.995
    """Decay tau of the exponential moving average of the weights; ramp min(tau, (1 + t) / (10 +
    t))."""

    averaging_start: Share = 0.0
    """Fraction of the steps before averaging starts; until then the average is a copy of the
    weights."""

    objective: Literal["trades", "adversarial_training", "mart", "ibp"] | ImportPath = "trades"
    """Training objective: trades (Zhang et al. 2019), adversarial_training (Madry et al. 2018),
    mart (Wang et al. 2020), ibp (Gowal et al. 2018, for certified robustness), or MODULE:NAME of a
    class of your own (docs/extending.md)."""

    trades_beta: NonNegativeFloat = 6.0
    """Weight beta of the TRADES regulariser, KL(clean ‖ adversarial)."""

    mart_lambda: NonNegativeFloat = 5.0
    """Weight lambda of the KL term of MART."""

    ibp_kappa: Share = 0.5
    """Final weight of the clean loss in ibp; that of the loss on interval bounds is 1 minus it."""

    ibp_ramp: Share = 0.5
    """Fraction of the steps over which ibp raises the radius from 0 to epsilon."""

    awp_gamma: NonNegativeFloat = 0.0
    """Size of the adversarial weight perturbation (Wu et al. 2020) relative to the norm of each
    layer, around any objective; 0 turns it off. The authors use 0.005 with TRADES and 0.01 with
    adversarial training."""

    label_smoothing: Share = 0.1
    """Probability mass spread uniformly over all classes in the targets."""

    label_smoothing_on: Literal["generated", "all"] = "generated"
    """Smooth the labels of generated images only, or of all images."""

    attack_optimizer: Literal["adam", "steepest"] = "adam"
    """adam: Adam with rate attack_step_size, divided by 10 in the second half (the paper).
    steepest: steps of attack_step_size along the sign of the gradient (linf) or along the
    normalised gradient (l2)."""

    attack_step_size: Fraction = "0.1"
    """Step size of the inner attack, in the [0, 1] pixel range. wang23 uses 2/255 for linf and
    25.6/255 for l2."""

    attack_steps: NonNegativeInt = 10
    """Steps of the inner attack; 0 uses the random start."""

    compiled_attack: bool = False
    """Run the inner attack through torch.compile, which takes a minute or two to compile. Results
    are equal up to rounding."""

    batch_norm_updates: Literal["adversarial", "both"] = "adversarial"
    """Forward passes that update the running statistics of batch norm: the adversarial one, or
    clean and adversarial."""

    virtual_batch: NonNegativeInt = 0
    """Images per group that shares batch-norm statistics; must divide the batch size. 0 uses each
    process's whole batch. The authors' machines used 32."""

    emulated_workers: PositiveInt = 1
    """Copies of each original image in a batch, each augmented and attacked separately; the
    authors' four workers amount to 4."""

    zero_logits: bool = True
    """Initialise the last layer to zero."""

    precision: Precision = "float32"
    """Precision of forward and backward passes up to the penultimate layer; weights, losses and
    attack state are float32."""

    channels_last: bool = True
    """Use the channels-last memory layout. Results are equal up to rounding."""

    validations: PositiveInt = 40
    """Number of PGD-40 evaluations on the validation split, evenly spaced; the best weights are
    kept."""

    gap_images: NonNegativeInt = 256
    """Training images attacked at each validation, with both averaged and live weights, to measure
    robust overfitting; 0 turns it off. It does not change the weights."""

    seed: NonNegativeInt = 0
    """Random seed of initial weights, batches, augmentation and attack starts."""

    @model_validator(mode="before")
    @classmethod
    def _start_from_recipe(cls, values: dict[str, Any]) -> dict[str, Any]:
        recipe, norm = values.get("recipe", "gowal21"), values.get("norm", "linf")
        return {**_of_recipe(recipe, norm), **values}

    @model_validator(mode="after")
    def _check(self) -> "TrainSettings":
        check_epsilon(self.norm, self.epsilon)
        if self.virtual_batch and self.batch_size % self.virtual_batch:
            raise ValueError(
                f"virtual_batch is {self.virtual_batch}, but must divide batch_size "
                f"({self.batch_size})"
            )
        of_recipe = _of_recipe(self.recipe, self.norm)
        for key, reason in self._unread().items():
            value = getattr(self, key)
            if value != of_recipe.get(key, type(self).model_fields[key].default):
                raise ValueError(f"{key} is {value} but has no effect: {reason}")
        return self

    def _unread(self) -> dict[str, str]:
        """Return the settings that this training does not read, each with why and what to do."""
        unread = {}
        own = OBJECTIVE_SETTINGS.get(self.objective)
        users: dict[str, list[str]] = {}
        for objective, keys in OBJECTIVE_SETTINGS.items():
            for key in keys:
                users.setdefault(key, []).append(objective)
        for key, objectives in users.items():
            if own is not None and key not in own:
                unread[key] = (
                    f"objective is {self.objective}; leave it out, or use objective "
                    f"{' or '.join(objectives)}"
                )
        if self.objective == "ibp":
            reason = "objective is ibp, which attacks no image; leave it out"
            of_attack = ("attack_optimizer", "attack_step_size", "attack_steps", "compiled_attack")
            unread |= dict.fromkeys(of_attack, reason)
        if self.attack_steps == 0:
            reason = "attack_steps is 0; leave it out, or use attack_steps above 0"
            unread |= dict.fromkeys(("attack_optimizer", "attack_step_size"), reason)
        if self.label_smoothing == 0:
            unread["label_smoothing_on"] = (
                "label_smoothing is 0; leave it out, or use label_smoothing above 0"
            )
        if self.averaging_decay == 0:
            unread["averaging_start"] = (
                "averaging_decay is 0; leave it out, or use averaging_decay above 0"
            )
        if ":" in self.architecture:
            unread["activation"] = _OWN_ACTIVATION
        return unread

    @model_serializer(mode="wrap")
    def _without_later(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out later settings at their defaults: finished trainings stay what they were."""
        values = serialize(self)
        return {key: v for key, v in values.items() if key not in LATER or v != LATER[key]}


class LabellerSettings(Settings):
    """The non-robust classifier f_NR that labels generated images (section 3.3)."""

    architecture: Architecture = "wrn-28-10"
    activation: Literal["silu", "relu"] = "silu"
    """Activation function of the network."""

    epochs: PositiveFloat = 200.0
    """Epochs of `epoch_size` images each."""

    epoch_size: PositiveInt = 50_000
    """Images per epoch, whatever the size of the data set."""

    batch_size: PositiveInt = 128
    """Images per step, over all processes."""

    learning_rate: PositiveFloat = 0.1
    """Peak learning rate for batches of up to 256 images; scaled by batch_size / 256 for larger
    ones."""

    warmup: Share = 0.025
    """Fraction of the steps during which the learning rate rises; it then follows a cosine to 0."""

    momentum: Share = 0.9
    """Nesterov momentum."""

    weight_decay: NonNegativeFloat = 5e-4
    """L2 penalty on all parameters outside batch norm."""

    averaging_decay: Share = 0.995
    """Decay tau of the exponential moving average of the weights; ramp min(tau, (1 + t) / (10 +
    t))."""

    label_smoothing: Share = 0.0
    """Probability mass spread uniformly over all classes in the targets."""

    precision: Precision = "float32"
    """Precision of forward and backward passes up to the penultimate layer; weights and losses are
    float32."""

    channels_last: bool = True
    """Use the channels-last memory layout. Results are equal up to rounding."""

    seed: NonNegativeInt = 0
    """Random seed of initial weights, batches and augmentation."""

    @model_validator(mode="after")
    def _check(self) -> "LabellerSettings":
        if ":" in self.architecture and self.activation != "silu":
            raise ValueError(
                f"activation is {self.activation} but has no effect: {_OWN_ACTIVATION}"
            )
        return self

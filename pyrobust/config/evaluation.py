"""Settings of the evaluation and of the loss landscapes."""

from typing import Annotated, Any, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from pyrobust.config.attacks import ATTACKS
from pyrobust.config.base import Settings
from pyrobust.config.fields import (
    Epsilon,
    Epsilons,
    NonNegativeInt,
    Norm,
    PositiveFloat,
    PositiveInt,
    Precision,
    choice_or_import,
)
from pyrobust.config.radius import check_epsilon
from pyrobust.errors import UserError


class ThreatSettings(Settings):
    """The perturbation set."""

    norm: Norm
    """Norm of the perturbation set."""

    epsilon: Epsilon

    @model_validator(mode="after")
    def _check_epsilon(self) -> Self:
        check_epsilon(self.norm, self.epsilon)
        return self


class EvaluationSettings(Settings):
    """The attacks of AA+MT (appendix A), in the paper's order. Each attacks the images that are
    still classified correctly."""

    num_images: PositiveInt | None = None
    """Attack only the first images of the test split. Default: all."""

    attack: Annotated[str, choice_or_import(*ATTACKS)] = Field(
        default="aa_mt",
        description=", ".join(f"{name} ({attack.summary})" for name, attack in ATTACKS.items())
        + ", or MODULE:NAME of your own attack. The settings of single attacks below belong to "
        "aa_mt.",
    )

    apgd_ce_steps: PositiveInt = 100
    """Steps of Auto-PGD on cross-entropy."""

    apgd_ce_restarts: PositiveInt = 5
    """Random restarts of Auto-PGD on cross-entropy."""

    apgd_dlr_steps: PositiveInt = 100
    """Steps of Auto-PGD on the difference of logits ratio (DLR)."""

    apgd_dlr_restarts: PositiveInt = 5
    """Random restarts of Auto-PGD on DLR."""

    multitargeted_steps: PositiveInt = 200
    """Steps of the MultiTargeted attack on the margin."""

    multitargeted_restarts: PositiveInt = 10
    """Restarts of the MultiTargeted attack, per target unless they are shared."""

    multitargeted_share_restarts: bool = False
    """Distribute the restarts over the targets instead of repeating them for each."""

    multitargeted_targets: PositiveInt | None = None
    """Number of target classes, those with the largest logits first. Default: all other classes."""

    autoattack: bool = False
    """Also run AutoAttack (standard). Robust accuracy is then the lower of the two."""

    curve: Epsilons = ()
    """Additional radii for a curve of robust accuracy under AA+MT, such as 4/255,16/255."""

    batch_size: PositiveInt = 512
    """Images attacked together. Progress is saved after each stage of a batch."""

    pass_size: PositiveInt = 128
    """Images per forward pass; the last one is padded, so that an image's result does not depend on
    the others. Changing it may change the last bits. On a GPU, larger passes are used where they
    give the same bits."""

    search: Precision = "float32"
    """Precision of the attack's forward and backward passes. bfloat16 is faster; success is always
    judged in float32, and images that only bfloat16 misclassifies are attacked again."""

    seed: NonNegativeInt = 0
    """Random seed; the random starts of an image depend only on this and on its index."""

    @model_serializer(mode="wrap")
    def _without_unused(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the settings of AA+MT where another attack runs."""
        unused = () if self.attack == "aa_mt" else _OF_AA_MT
        return {key: value for key, value in serialize(self).items() if key not in unused}


def check_evaluation(settings: EvaluationSettings, norm: str) -> None:
    """Refuse settings that contradict each other or the norm.

    Raises:
        UserError: names the setting.
    """
    for epsilon in settings.curve:
        try:
            check_epsilon(norm, epsilon)
        except ValueError as error:
            raise UserError(f"curve: {error}") from error
    if settings.attack == "aa_mt":
        return
    given = settings.model_fields_set & _OF_AA_MT
    if given:
        raise UserError(
            f"{', '.join(sorted(given))} belongs to attack aa_mt, but attack is "
            f"'{settings.attack}': leave it out, or use attack aa_mt"
        )


_OF_AA_MT = frozenset(
    {"curve", "autoattack"}
    | {name for name in EvaluationSettings.model_fields if name.startswith(("apgd_", "multi"))}
)


class LandscapeSettings(Settings):
    """Loss landscapes around test images (Figure 11)."""

    num_images: PositiveInt = 2
    """Number of images, the first of the test split."""

    extent: PositiveFloat = 2.0
    """Half-width of the plotted plane, in units of epsilon."""

    resolution: Annotated[int, Field(ge=3)] = 41
    """Points along each axis; an odd number puts the image itself on the grid."""

    seed: NonNegativeInt = 0
    """Random seed of the attack's start and of the random direction."""

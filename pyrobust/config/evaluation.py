"""Settings of the evaluation and of the loss landscapes."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pyrobust.config.base import Settings
from pyrobust.config.fields import (
    Epsilon,
    Epsilons,
    NonNegativeInt,
    Norm,
    PositiveFloat,
    PositiveInt,
)
from pyrobust.config.training import check_epsilon

Search = Literal["float32", "bfloat16"]


class ThreatSettings(Settings):
    """The perturbation set."""

    norm: Norm
    epsilon: Epsilon

    @model_validator(mode="after")
    def _check_epsilon(self) -> Self:
        check_epsilon(self.norm, self.epsilon)
        return self


class EvaluationSettings(Settings):
    """The attacks of AA+MT (appendix A), in the paper's order, on the images still standing."""

    num_images: PositiveInt | None = None
    """Test images attacked, the first of the test split; all of them where not given."""

    apgd_ce_steps: PositiveInt = 100
    """Steps of AutoPGD on cross-entropy."""

    apgd_ce_restarts: PositiveInt = 5
    """Its random starts."""

    apgd_dlr_steps: PositiveInt = 100
    """Steps of AutoPGD on the difference of logits ratio."""

    apgd_dlr_restarts: PositiveInt = 5
    """Its random starts."""

    multitargeted_steps: PositiveInt = 200
    """Steps of the multi-targeted attack on the margin."""

    multitargeted_restarts: PositiveInt = 10
    """Restarts of the multi-targeted attack, for each target unless shared."""

    multitargeted_share_restarts: bool = False
    """Whether restarts are dealt out over the targets instead of repeated for each."""

    multitargeted_targets: PositiveInt | None = None
    """Targets with the largest logits that are tried; all other classes where not given."""

    autoattack: bool = False
    """Whether AutoAttack (standard) runs as well; the result is then the worst of both."""

    curve: Epsilons = ()
    """Further radii at which AA+MT attacks, for a curve of robust accuracy: 4/255,16/255."""

    batch_size: PositiveInt = 512
    """Images attacked together; the state is saved after each stage of a batch."""

    pass_size: PositiveInt = 128
    """Images of every network pass, the last one filled up: an image's result is then the same
    whatever else is attacked. Another value may change the last bits."""

    search: Search = "float32"
    """How attacks pass through the network: as it is, or faster with bfloat16 products. Points
    are judged in float32 either way, and where bfloat16 erred, the image is attacked again."""

    seed: NonNegativeInt = 0
    """Seed of all random starts; they are a function of it and of the number of the image."""


def check_curve(settings: EvaluationSettings, norm: str) -> None:
    """Refuse a radius of the curve that the norm does not have.

    Raises:
        ValueError: names the radius.
    """
    for epsilon in settings.curve:
        try:
            check_epsilon(norm, epsilon)
        except ValueError as error:
            raise ValueError(f"curve: {error}") from error


class LandscapeSettings(Settings):
    """Loss landscapes around test images (Figure 11)."""

    num_images: PositiveInt = 2
    """Images drawn, the first of the test split."""

    extent: PositiveFloat = 2.0
    """How far the axes reach to both sides, in epsilon."""

    resolution: Annotated[int, Field(ge=3)] = 41
    """Points along each axis; an odd number puts the image itself on the grid."""

    seed: NonNegativeInt = 0
    """Seed of the attack's start and of the random direction."""

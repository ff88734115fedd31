"""Settings of `pyrobust threats`."""

from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pyrobust.config.attacks import AttackName
from pyrobust.config.base import Settings
from pyrobust.config.fields import Fraction, NonNegativeInt, PositiveInt, Share
from pyrobust.config.radius import check_epsilon

Threat = Literal["linf", "l2", "l1", "spatial", "patch", "corruptions"]


def _parts(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _different(threats: tuple[Threat, ...]) -> tuple[Threat, ...]:
    if len(set(threats)) < len(threats) or not threats:
        raise ValueError(f"expected one or more of {', '.join(get_args(Threat))}, each once")
    return threats


def _odd(count: int) -> int:
    if count % 2 == 0:
        raise ValueError("expected an odd number, so that the grid contains the image itself")
    return count


OddInt = Annotated[PositiveInt, AfterValidator(_odd)]


class ThreatsSettings(Settings):
    """Perturbation sets of several kinds, and the attacks in each."""

    threats: Annotated[
        tuple[Threat, ...],
        BeforeValidator(_parts),
        AfterValidator(_different),
    ] = get_args(Threat)
    """Which threats, with commas between them: linf, l2, l1, spatial, patch, corruptions."""

    linf: Fraction = "8/255"
    """Radius of the linf ball in the [0, 1] pixel range."""

    l2: Fraction = "128/255"
    """Radius of the l2 ball."""

    l1: Fraction = "12"
    """Radius of the l1 ball."""

    attack: AttackName = "aa_mt"
    """Attack in the three balls: aa_mt (the strongest), autoattack, fast (AutoAttack's two APGD
    stages) or pgd40."""

    max_rotation: Annotated[float, Field(ge=0, le=180)] = 30.0
    """Largest rotation of the spatial attack, in degrees, in both directions."""

    max_translation: Share = 0.09375
    """Largest translation, as a share of the image's side; the default is 3 of 32 pixels."""

    num_rotations: OddInt = 31
    """Angles on the grid of the spatial attack; all are tried."""

    num_translations: OddInt = 5
    """Shifts along each axis on the grid; all are tried."""

    patch_area: Annotated[float, Field(gt=0, le=1)] = 0.025
    """Share of the image that the square patch covers; the default is 5×5 of 32×32 pixels."""

    patch_locations: PositiveInt = 7
    """Places of the patch along each axis."""

    patch_steps: PositiveInt = 20
    """Gradient steps at each place of the patch."""

    severity: Annotated[int, Field(ge=1, le=5)] = 3
    """Highest severity of the corruptions, 1 to 5; lower ones are tried, too."""

    num_images: PositiveInt | None = None
    """Attack only the first images. Default: all."""

    batch_size: PositiveInt = 512
    """Images attacked together. Progress is saved after each stage of a batch."""

    pass_size: PositiveInt = 128
    """Images per forward pass, as in `pyrobust evaluate`."""

    seed: NonNegativeInt = 0
    """Random seed; the random numbers of an image depend only on this and on its index."""

    @model_validator(mode="after")
    def _check_radii(self) -> Self:
        for norm in ("linf", "l2", "l1"):
            check_epsilon(norm, getattr(self, norm))
        return self

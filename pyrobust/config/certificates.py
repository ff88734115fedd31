"""Settings of `pyrobust certify`."""

from typing import Annotated, Literal

from pydantic import Field

from pyrobust.config.attacks import AttackName
from pyrobust.config.base import Settings
from pyrobust.config.fields import NonNegativeInt, PositiveFloat, PositiveInt
from pyrobust.errors import UserError

CertificateMethod = Literal["crown", "crown_ibp", "ibp", "smoothing"]


class CertifySettings(Settings):
    """How lower bounds on robust accuracy are computed, and the attack beside them."""

    method: CertificateMethod = "crown"
    """crown (linear bounds), crown_ibp (linear bounds with intervals inside; faster), ibp
    (intervals), or smoothing (randomised smoothing, for l2 and any model)."""

    attack: AttackName = "fast"
    """Attack that looks for broken images: aa_mt, autoattack, fast or pgd40. Not used by
    smoothing, which certifies another classifier than the model itself."""

    deviation: PositiveFloat = 0.25
    """Standard deviation of the noise of smoothing, in the [0, 1] pixel range."""

    selection_samples: PositiveInt = 100
    """Noisy images that select the class of the smoothed classifier."""

    samples: PositiveInt = 1000
    """Noisy images that bound the probability of this class. The largest radius grows with it."""

    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.001
    """Probability that the certificate of an image by smoothing is wrong, at most."""

    num_images: PositiveInt | None = None
    """Certify only the first images. Default: all."""

    batch_size: PositiveInt = 16
    """Images certified together. Progress is saved after each batch."""

    pass_size: PositiveInt = 128
    """Images per forward pass of attacks and smoothing, as in `pyrobust evaluate`."""

    seed: NonNegativeInt = 0
    """Random seed of attacks and noise."""


def check_certificate(settings: CertifySettings, norm: str) -> None:
    """Refuse settings that contradict the norm or that the method does not read.

    Raises:
        UserError: names the setting.
    """
    smooths = settings.method == "smoothing"
    if smooths and norm != "l2":
        raise UserError(f"method is 'smoothing', which certifies l2, but norm is '{norm}'")
    own = {"deviation", "selection_samples", "samples", "alpha"}
    unread = settings.model_fields_set & ({"attack"} if smooths else own)
    if unread:
        raise UserError(
            f"{', '.join(sorted(unread))} has no effect on method '{settings.method}': leave it out"
        )

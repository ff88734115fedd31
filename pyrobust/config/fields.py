"""Field types that several settings share."""

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field

Norm = Literal["linf", "l2"]

Name = Annotated[str, Field(pattern=r"^[a-z0-9]+([_-][a-z0-9]+)*$")]

Epsilon = Annotated[
    str,
    Field(
        pattern=r"^[0-9]+(\.[0-9]+)?(/[1-9][0-9]*)?$",
        description="Radius of the perturbation set in the [0, 1] pixel range, such as 8/255.",
    ),
]

Architecture = Annotated[
    str,
    Field(
        pattern=r"^(wrn-[0-9]+-[0-9]+|resnet-(18|34))$",
        description="wrn-DEPTH-WIDTH (depth 10, 16, 22, 28, ...), resnet-18 or resnet-34.",
    ),
]

Share = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]


def parse_epsilon(text: str) -> float:
    """Return the radius that `text` spells, as in "8/255" or "0.03"."""
    if "/" not in text:
        return float(text)
    numerator, denominator = text.split("/")
    return float(Fraction(numerator) / int(denominator))

"""Field types that several settings share."""

import fractions
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

Norm = Literal["linf", "l2"]

Name = Annotated[str, Field(pattern=r"^[a-z0-9]+([_-][a-z0-9]+)*$")]

_FRACTION = r"^[0-9]+(\.[0-9]+)?(/[1-9][0-9]*)?$"

# A length in the [0, 1] pixel range as people write it: 8/255, 0.03. YAML reads some as numbers.
Fraction = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, int | float) else value),
    Field(pattern=_FRACTION),
    WithJsonSchema({"type": ["string", "number"], "pattern": _FRACTION}),
]

Epsilon = Annotated[
    Fraction,
    Field(description="Radius of the perturbation set in the [0, 1] pixel range, such as 8/255."),
]

# On the command line they stand in one word: 4/255,8/255.
Epsilons = Annotated[
    tuple[Fraction, ...],
    BeforeValidator(lambda value: value.split(",") if isinstance(value, str) else value),
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
    return float(fractions.Fraction(numerator) / int(denominator))

"""Field types that several settings share."""

import decimal
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

Norm = Literal["linf", "l2", "l1"]
TrainingNorm = Literal["linf", "l2"]
Precision = Literal["float32", "bfloat16"]

NAME = r"^[a-z0-9]+([_-][a-z0-9]+)*$"
_SCIENTIFIC = r"[0-9]+(\.[0-9]+)?[eE][+-]?[0-9]{1,3}"
_FRACTION = r"^[0-9]+(\.[0-9]+)?(/[1-9][0-9]*)?$"

_OBJECT = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*"
_IMPORT_PATH = rf"^{_OBJECT}$"
_ARCHITECTURE = rf"^(wrn-[0-9]{{2,4}}-[1-9][0-9]{{0,2}}|resnet-(18|34)|{_OBJECT}(\(.*\))?)$"

# What each pattern requires, for error messages.
PATTERNS = {
    NAME: "use lower-case letters and digits, with single _ or - between them",
    _FRACTION: "expected a non-negative number such as 8/255 or 0.03",
    _ARCHITECTURE: "expected wrn-DEPTH-WIDTH such as wrn-28-10, resnet-18, resnet-34, "
    "or MODULE:NAME of a constructor such as torchvision.models:resnet18",
    _IMPORT_PATH: "expected MODULE:NAME of something that Python can import",
}

Name = Annotated[str, Field(pattern=NAME)]


def is_number(value: object) -> bool:
    """Whether `value` is an int or a float and no bool, which Python counts among them."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def choice_or_import(*choices: str) -> AfterValidator:
    """Return a validator that accepts `choices`, and MODULE:NAME of something of the user's own."""

    def check(text: str) -> str:
        if text not in choices and not re.fullmatch(_OBJECT, text):
            raise ValueError(f"expected one of {', '.join(choices)}, or MODULE:NAME")
        return text

    return AfterValidator(check)


# An object of the user's own: MODULE:NAME, as Python imports it.
ImportPath = Annotated[str, Field(pattern=_IMPORT_PATH)]


def _spelled_out(value: Any) -> Any:
    """Return a number in decimal notation, such as 0.00001 for 1e-5, which is text to YAML."""
    text = value if isinstance(value, str) else repr(value)
    if is_number(value) or re.fullmatch(_SCIENTIFIC, text):
        return format(decimal.Decimal(text), "f")
    return value


# A length in the [0, 1] pixel range: 8/255, 0.03. YAML parses some of them as numbers.
Fraction = Annotated[str, BeforeValidator(_spelled_out), Field(pattern=_FRACTION)]

Epsilon = Annotated[
    Fraction,
    Field(description="Radius of the perturbation set in the [0, 1] pixel range, such as 8/255."),
]

# On the command line, one comma-separated argument: 4/255,8/255.
Epsilons = Annotated[
    tuple[Fraction, ...],
    BeforeValidator(lambda value: value.split(",") if isinstance(value, str) else value),
]


def parse_wide(architecture: str) -> tuple[int, int] | None:
    """Return (depth, width) of a wrn; None for another architecture."""
    match = re.fullmatch(r"wrn-([0-9]+)-([0-9]+)", architecture)
    return (int(match[1]), int(match[2])) if match else None


def check_architecture(architecture: str) -> str:
    """Return the name of a network after checking it.

    Raises:
        ValueError: the name is unknown; the message says what was expected.
    """
    if not re.fullmatch(_ARCHITECTURE, architecture):
        raise ValueError(PATTERNS[_ARCHITECTURE])
    depth, _ = parse_wide(architecture) or (10, 1)
    if depth < 10 or (depth - 4) % 6:
        raise ValueError("expected a wrn of depth 10, 16, 22, 28, ... (6n + 4)")
    return architecture


def _as_named_here(architecture: object) -> object:
    """Return resnet-18 for preactresnet-18, as other projects call this network."""
    named = isinstance(architecture, str) and re.fullmatch(r"preactresnet-(18|34)", architecture)
    return f"resnet-{named[1]}" if named else architecture


Architecture = Annotated[
    str,
    Field(
        pattern=_ARCHITECTURE,
        description="wrn-DEPTH-WIDTH (depth 10, 16, 22, 28, ...), resnet-18 or resnet-34, which "
        "are pre-activation networks, timm:NAME, torchvision:NAME, or MODULE:NAME of a constructor "
        "(docs/training.md).",
    ),
    BeforeValidator(_as_named_here),
    AfterValidator(check_architecture),
]


def _of_64_bits(value: int) -> int:
    if value >= 2**63:
        raise ValueError("must be below 2^63")
    return value


Share = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1), AfterValidator(_of_64_bits)]
NonNegativeInt = Annotated[int, Field(ge=0), AfterValidator(_of_64_bits)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]

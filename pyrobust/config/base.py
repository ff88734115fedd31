"""The base class of settings, and how they are parsed."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from pyrobust.config.fields import NAME, PATTERNS
from pyrobust.errors import UserError


class Settings(BaseModel):
    """Frozen settings of one stage; unknown keys raise an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


# In the reason why a value is refused whose choices include a name to import.
_IMPORTED = "MODULE:NAME"

AnySettings = TypeVar("AnySettings", bound=Settings)


def parse_settings(
    model: type[AnySettings], values: Mapping[str, Any], file: Path | None = None
) -> AnySettings:
    """Check `values` and return them as `model`.

    Args:
        file: that the values come from.

    Raises:
        UserError: names the file, the first invalid key, its value and what was expected.
    """
    where = f"{file}: " if file else ""
    if not isinstance(values, Mapping):
        found = type(values).__name__
        raise UserError(f"{where}expected a mapping of keys to values, but found a {found}")
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise UserError(f"{where}{_first_mistake(model, error)}") from error


def _first_mistake(model: type[Settings], error: ValidationError) -> str:
    mistake = error.errors(include_url=False)[0]
    if mistake["loc"][-1:] == ("[key]",):
        return _wrong_key(mistake["loc"][:-2], mistake["input"])
    key = ".".join(str(part) for part in mistake["loc"])
    field = _field_at(model, mistake["loc"])
    reason = mistake["msg"].removeprefix("Value error, ")
    reason = reason[0].lower() + reason[1:]
    match mistake["type"]:
        case "extra_forbidden":
            owner = _model_at(model, mistake["loc"][:-1])
            known = f"; choose one of: {', '.join(owner.model_fields)}" if owner else ""
            return f"unknown setting '{key}'{known}"
        case "missing":
            return f"required setting '{key}' is missing"
        case "invalid_key":
            return _wrong_key(mistake["loc"][:-1], mistake["input"])
        case "value_error" if isinstance(mistake["input"], Mapping):
            return f"{key}: {reason}" if key else reason
        case "string_pattern_mismatch":
            reason = PATTERNS[mistake["ctx"]["pattern"]]
        case "dict_type" | "model_type":
            reason = "expected a mapping of keys to values"
        case "tuple_type":
            reason = "expected a list"
    meaning = " ".join((field.description or "").split()) if field else ""
    if not meaning or _IMPORTED in reason:  # the reason lists all choices
        return f"{key} is {mistake['input']!r}: {reason}"
    first_sentence = re.split(r"\.(?: (?=[A-Z])|$)", meaning)[0]
    return f"{key} is {mistake['input']!r}: {reason} ({first_sentence})"


def _wrong_key(place: tuple[int | str, ...], key: Any) -> str:
    where = f" in {'.'.join(str(part) for part in place)}" if place else ""
    return f"invalid name {key!r}{where}: {PATTERNS[NAME]}"


def _model_at(model: type[Settings], place: tuple[int | str, ...]) -> type[Settings] | None:
    """Return the model of the keys at `place` inside `model`."""
    if not place:
        return model
    field = model.model_fields.get(str(place[0]))
    if field is None:
        return None
    for member in get_args(field.annotation):
        if isinstance(member, type) and issubclass(member, Settings):
            return _model_at(member, place[2:]) if len(place) > 1 else None
    return None


def _field_at(model: type[Settings], place: tuple[int | str, ...]) -> FieldInfo | None:
    owner = _model_at(model, place[:-1]) if place else None
    return owner.model_fields.get(str(place[-1])) if owner else None

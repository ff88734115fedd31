"""The base class of settings and the one way to parse them."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pyrobust.errors import UserError


class Settings(BaseModel):
    """Frozen settings of one stage; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


AnySettings = TypeVar("AnySettings", bound=Settings)


def parse_settings(model: type[AnySettings], values: Mapping[str, Any]) -> AnySettings:
    """Check `values` and return them as `model`.

    Raises:
        UserError: names the first wrong key, its value and what was expected.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise UserError(_first_mistake(model, error)) from error


def _first_mistake(model: type[Settings], error: ValidationError) -> str:
    mistake = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in mistake["loc"]) or model.__name__
    if mistake["type"] == "extra_forbidden":
        return f"'{key}' is no setting here; expected one of {', '.join(model.model_fields)}"
    if mistake["type"] == "missing":
        return f"'{key}' is missing from the settings"
    reason = mistake["msg"].removeprefix("Value error, ")
    field = model.model_fields.get(str(mistake["loc"][0])) if mistake["loc"] else None
    expected = f" ({field.description.splitlines()[0]})" if field and field.description else ""
    if not mistake["loc"]:
        return reason[0].lower() + reason[1:]
    return f"{key} is {mistake['input']!r}: {reason[0].lower() + reason[1:]}{expected}"

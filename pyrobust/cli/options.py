"""Options of many verbs: the fields of a settings model, and folders of stages."""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from typer.models import OptionInfo

from pyrobust.config import Settings, parse_settings
from pyrobust.errors import UserError
from pyrobust.shares import Share

Verb = Callable[..., None]

# Normalisation of a model: a number per channel, or one for all.
Numbers = Annotated[
    str | None,
    typer.Option(
        help="For a model that expects (pixels - mean) / std: one number per channel, or one for "
        "all."
    ),
]


def parse_numbers(name: str, text: str | None) -> tuple[float, ...]:
    """Return the numbers of "0.5,0.25"; none for None.

    Raises:
        UserError: a part is not a number; names the option.
    """
    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise UserError(f"{name} is '{text}', expected numbers with commas: 0.5,0.5,0.5") from error


ShareOption = Annotated[
    Share | None,
    typer.Option(
        help="Do one share of the work only, such as 1/4, in parallel to jobs with the others. The "
        "same command without --share then writes the results.",
        parser=Share.parse,
        metavar="NUMBER/OF",
    ),
]

SearchMemoryGb = Annotated[
    float,
    typer.Option(min=0.1, help="Memory of the search, in GB; it does not change exact results."),
]


def stage_folder(help: str, *indexes: str) -> OptionInfo:
    """Return an option for the folder of a stage, or the path of its index file.

    Args:
        indexes: possible names of the index file.
    """
    option: OptionInfo = typer.Option(
        help=f"{help.rstrip('.')}, or its {' or '.join(indexes)}.",
        parser=lambda text: folder_of(text, indexes),
        metavar="PATH",
    )
    return option


def folder_of(text: str, indexes: tuple[str, ...]) -> Path:
    """Return the folder of the path of a folder or of its index file.

    Raises:
        UserError: it is the index of another kind of stage.
    """
    path = Path(text)
    if path.name in indexes:
        return path.parent
    if path.suffix == ".json":
        raise UserError(f"{path} is not a folder: name a folder or its {' or '.join(indexes)}")
    return path


def takes_settings(model: type[Settings]) -> Callable[[Verb], Verb]:
    """Replace the `settings` parameter of a verb by one option per field of `model`.

    Only options that the user gives reach the model, so that recipes can fill in the rest.
    """

    def decorate(verb: Verb) -> Verb:
        signature = inspect.signature(verb)
        own = [p for p in signature.parameters.values() if p.name != "settings"]

        @wraps(verb)
        def run(**values: Any) -> None:
            options = {name: values.pop(name) for name in model.model_fields}
            given = {name: value for name, value in options.items() if value is not None}
            verb(settings=parse_settings(model, given), **values)

        options = [_option(name, field) for name, field in model.model_fields.items()]
        run.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + options
        )
        return run

    return decorate


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    text = (field.description or "").replace("\n", " ")
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            _plain_type(field.annotation) | None,  # type: ignore[valid-type]
            typer.Option(
                help=" ".join(filter(None, [text, _choices(field), _default(name, field)]))
            ),
        ],
    )


def _plain_type(annotation: Any) -> Any:
    """Return the type for the command line; the model validates the value."""
    if annotation in (int, float, bool, str):
        return annotation
    members = [a for a in get_args(annotation) if a is not type(None)]
    if get_origin(annotation) is Literal:
        return type(members[0])
    return _plain_type(members[0]) if members else str


def _choices(field: FieldInfo) -> str:
    if get_origin(field.annotation) is not Literal:
        return ""
    return "(" + ", ".join(str(choice) for choice in get_args(field.annotation)) + ")"


def _default(name: str, field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        value = f"{'' if value else 'no-'}{name.replace('_', '-')}"
    elif isinstance(value, tuple):
        value = ",".join(map(str, value))
    return f"[default: {value}]"

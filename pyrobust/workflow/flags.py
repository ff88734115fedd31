"""Settings and input files as words of a command line, quoted for the shell."""

import shlex
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Protocol

from pydantic import ValidationError

from pyrobust.config import Settings


class Inputs(Protocol):
    """The input files of a job by name, as Snakemake has them."""

    def get(self, name: str, default: Any = None) -> Any:
        """Return a file, a list of files, or the default."""


def stated(settings: Settings) -> dict[str, Any]:
    """Return the fewest values that give `settings` again.

    A value that is the default, or that the recipe or the preset sets anyway, is left out: a
    stage is then not run again because a new setting appeared, or a default was spelled out.
    """
    model = type(settings)
    kept = settings.model_dump(mode="json")
    for key in list(kept):
        rest = {name: value for name, value in kept.items() if name != key}
        try:
            if model.model_validate(rest) == settings:
                kept = rest
        except ValidationError:
            continue
    return kept


@cache
def settings_flags(settings: Settings) -> str:
    """Return the flags of a verb that takes `settings`; those with the default are left out."""
    return flags(stated(settings))


def flags(values: Mapping[str, Any]) -> str:
    """Return values as flags; None and empty ones are left out."""
    words: list[str] = []
    for key, value in values.items():
        if value is None or value in ([], ()):
            continue
        name = key.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            # Glued together, a value may start with a dash.
            words += [f"--{name}={text}"] if text.startswith("-") else [f"--{name}", text]
    return shlex.join(words)


def input_flags(*names: str) -> Callable[[Any, Inputs], str]:
    """Return a function to one flag for each file among the named inputs, if there are any."""

    def flags_of(wildcards: Any, input: Inputs) -> str:
        return shlex.join(
            word for name in names for file in files_of(input, name) for word in (f"--{name}", file)
        )

    return flags_of


def files_of(input: Inputs, name: str) -> Iterable[str]:
    """Return the files of one named input; none where the job has no such input."""
    found = input.get(name) or []
    return [str(found)] if isinstance(found, str) else [str(file) for file in found]

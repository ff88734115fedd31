"""What every verb that writes a folder has in common."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from pyrobust.files import exclusive

Verb = Callable[..., None]


def writes_folder(verb: Verb) -> Verb:
    """Let one process at a time run `verb` on its `output` folder."""

    @wraps(verb)
    def run(**values: Any) -> None:
        with exclusive(values["output"]):
            verb(**values)

    return run

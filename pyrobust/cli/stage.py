"""What verbs have in common that write a folder or compute on a GPU."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from pyrobust.files import exclusive
from pyrobust.gpus import own_gpus

Verb = Callable[..., None]


def writes_folder(verb: Verb) -> Verb:
    """Let one process at a time run `verb` on its `output` folder."""

    @wraps(verb)
    def run(**values: Any) -> None:
        with exclusive(values["output"]):
            verb(**values)

    return run


def uses_gpu(verb: Verb) -> Verb:
    """Let `verb` run on a GPU that no other process has taken, where there are several."""

    @wraps(verb)
    def run(**values: Any) -> None:
        with own_gpus(1):
            verb(**values)

    return run

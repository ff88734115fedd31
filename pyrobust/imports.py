"""Objects of the user's own, named as MODULE:NAME in settings and on the command line."""

import importlib
import inspect
from pathlib import Path
from typing import Any

from pyrobust.errors import UserError
from pyrobust.files import sha256_of


def import_object(path: str, what: str, example: str) -> Any:
    """Return the object NAME of module MODULE; importing runs the code of that module.

    Args:
        path: MODULE:NAME, as Python imports it.
        what: what it names, for the message; `example` is another such path.

    Raises:
        UserError: the module or the name does not exist.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"cannot import {what} {path} ({error}); expected MODULE:NAME of an importable module, "
            f"such as {example}"
        ) from error


def source_sha256(named: object) -> str | None:
    """Return the SHA-256 of the source file of a class, function or object; None without one."""
    has_source = isinstance(named, type) or inspect.isroutine(named)
    try:
        file = inspect.getsourcefile(named if has_source else type(named))  # type: ignore[arg-type]
    except (TypeError, OSError):
        return None
    return None if file is None else sha256_of(Path(file))

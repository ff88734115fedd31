"""Objects of the user's own, named as MODULE:NAME in settings and on the command line."""

import importlib
import inspect
import sys
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
        UserError: the module or the name does not exist, or the module's code fails.
    """
    module, _, names = path.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:  # as for python -m, when the installed command runs
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
        for name in names.split("."):
            found = getattr(found, name)
    except (Exception, SystemExit) as error:  # the module's own code runs
        raise UserError(
            f"cannot import {what} {path} ({type(error).__name__}: {error}); expected MODULE:NAME "
            f"of an importable module, such as {example}"
        ) from error
    return found


def source_sha256(named: object) -> str | None:
    """Return the SHA-256 of the source file of a class, function or object; None without one."""
    has_source = isinstance(named, type) or inspect.isroutine(named)
    try:
        file = inspect.getsourcefile(named if has_source else type(named))  # type: ignore[arg-type]
    except (TypeError, OSError):
        return None
    return sha256_of(Path(file)) if file is not None and Path(file).is_file() else None

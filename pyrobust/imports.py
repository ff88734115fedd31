"""Objects named as MODULE:NAME: the user's in settings, and the project's in tables."""

import hashlib
import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from pyrobust.errors import OwnCodeError, UserError
from pyrobust.files import sha256_of


def named_object(path: str) -> Any:
    """Return the object MODULE:NAME, such as the implementation of an entry of a table."""
    module, _, names = path.partition(":")
    found: Any = importlib.import_module(module)
    for name in names.split("."):
        found = getattr(found, name)
    return found


def import_object(path: str, what: str, example: str) -> Any:
    """Return the object NAME of module MODULE; importing runs the code of that module.

    Args:
        path: MODULE:NAME, as Python imports it.
        what: what it names, for the message; `example` is another such path.

    Raises:
        UserError: the module or the name does not exist, or the module's code fails.
    """
    here = str(Path.cwd())
    if here not in sys.path:  # as for python -m, when the installed command runs
        sys.path.insert(0, here)
    try:
        found = named_object(path)
    except (Exception, SystemExit) as error:  # the module's own code runs
        package = path.partition(".")[0].partition(":")[0]
        if isinstance(error, ModuleNotFoundError) and error.name == package:
            raise UserError(
                f"cannot import {what} {path}: there is no module '{package}'; install it by 'pip "
                f"install {package}', or run the command in the folder of {package}.py"
            ) from error
        raise OwnCodeError(
            f"cannot import {what} {path} ({type(error).__name__}: {error}); expected MODULE:NAME "
            f"of an importable module, such as {example}"
        ) from error
    return found


def import_path_of(named: object, what: str) -> str:
    """Return MODULE:NAME of a class or function; text is returned unchanged.

    Raises:
        UserError: it is neither, or was defined inside a function, where it cannot be found again.
    """
    if isinstance(named, str):
        return named
    name = getattr(named, "__qualname__", None)
    if name is None or not name.isidentifier():
        raise UserError(
            f"{what} is {named!r}; expected a class or function defined at the top of a module or "
            "notebook, or its MODULE:NAME"
        )
    return f"{named.__module__}:{name}"


def source_sha256(named: object) -> str | None:
    """Return the SHA-256 of the source file of a class, function or object; None without one.

    Code of a notebook has no file: the hash is then that of the class or function alone.
    """
    code: Any = named if isinstance(named, type) or inspect.isroutine(named) else type(named)
    try:
        file = inspect.getsourcefile(code)
    except (TypeError, OSError):
        file = None
    if file is not None and Path(file).is_file():
        return sha256_of(Path(file))
    functions = vars(code).values() if isinstance(code, type) else [code]
    try:
        text = "".join(inspect.getsource(f) for f in functions if inspect.isfunction(f))
    except (TypeError, OSError):
        return None
    return hashlib.sha256(text.encode()).hexdigest() if text else None

"""Objects named as MODULE:NAME: the user's in settings, and the project's in tables."""

import hashlib
import importlib
import inspect
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyrobust.errors import UserError, lacks_memory
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
        raise UserError(
            f"cannot import {what} {path} ({type(error).__name__}: {error}); expected MODULE:NAME "
            f"of an importable module, such as {example}"
        ) from error
    return found


@contextmanager
def running(path: str) -> Iterator[None]:
    """Say in one sentence what an error of the user's own code is, for the block.

    Args:
        path: MODULE:NAME of the code; any other name is of this project, whose errors pass.

    Raises:
        UserError: states the error, and the line of the module that it comes from.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if ":" not in path or lacks_memory(error):
            raise
        file = getattr(sys.modules.get(path.partition(":")[0]), "__file__", None)
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
        where = f" in line {lines[-1]} of {file}" if lines else ""
        raise UserError(f"{path} fails with {type(error).__name__}{where}: {error}") from error


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

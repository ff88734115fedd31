"""Code of the user's own: whose it is when it fails, and where."""

import os
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyrobust.errors import OwnCodeError, UserError, lacks_memory

_OURS = str(Path(__file__).parent) + os.sep
_LIBRARIES = tuple(
    {_OURS, *(sysconfig.get_path(name) + os.sep for name in ("stdlib", "purelib", "platlib"))}
)

# Folders of installed packages outside this environment, such as those of `pip install --user`.
_INSTALLED = {"site-packages", "dist-packages"}


@contextmanager
def own_code(name: str, certain: bool = True) -> Iterator[None]:
    """Say whose code failed if the block, which runs code of the user's, raises an error.

    Args:
        name: of the code, for the message.
        certain: whether every error is the user's; else only one whose traceback reaches a file
            that belongs neither to this project nor to a library.

    Raises:
        OwnCodeError: states the error, and the line that it comes from.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if lacks_memory(error) or not (certain or _lines_of(error)):
            raise
        raise OwnCodeError(f"{name} fails with {words_of(error)}") from error


@contextmanager
def running(path: str) -> Iterator[None]:
    """Say whose code failed if `path` is MODULE:NAME; any other name is of this project.

    Raises:
        OwnCodeError: see `own_code`.
    """
    if ":" not in path:
        yield
        return
    with own_code(path):
        yield


def words_of(error: BaseException) -> str:
    """Return the kind of an error, the user's line that it comes from, and its last line."""
    lines = str(error).strip().splitlines()
    text = f": {lines[-1]}" if lines else ""
    where = _lines_of(error)
    place = f" in line {where[-1].lineno} of {where[-1].filename}" if where else ""
    return f"{type(error).__name__}{place}{text}"


def own_traceback(error: BaseException) -> str:
    """Return the traceback of an error from the user's first line on; empty without one."""
    frame = error.__traceback__
    while frame is not None and not _is_own(frame.tb_frame.f_code.co_filename):
        frame = frame.tb_next
    if frame is None:
        return ""
    return "".join(traceback.format_exception(type(error), error, frame))


def _lines_of(error: BaseException) -> list[traceback.FrameSummary]:
    frames = traceback.extract_tb(error.__traceback__)
    return [frame for frame in frames if _is_own(frame.filename)]


def _is_own(file: str) -> bool:
    if file.startswith("<"):  # generated code, but for what is typed
        return file.startswith(("<stdin", "<ipython"))
    return not file.startswith(_LIBRARIES) and _INSTALLED.isdisjoint(Path(file).parts)

"""The one oracle: a verb ends with its result, or with exit 2, one sentence and nothing written."""

import contextlib
import io
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from pyrobust.cli import main

SECONDS = 60


@contextlib.contextmanager
def _limit() -> Iterator[None]:
    def hangs(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"it hangs for {SECONDS} s")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def tree(folder: Path) -> dict[str, int]:
    """Return every path below `folder` with its size."""
    return {p.relative_to(folder).as_posix(): p.lstat().st_size for p in folder.rglob("*")}


def run(folder: Path, *command: object) -> str | None:
    """Run one command line in `folder`; return None if it succeeds, else why it was refused.

    A refusal is one sentence that leaves `folder` as it was; anything else fails the test.
    """
    before, here, argv = tree(folder), Path.cwd(), sys.argv
    said = io.StringIO()
    try:
        os.chdir(folder)
        sys.argv = ["pyrobust", *map(str, command)]
        with _limit(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            main()
    except SystemExit as ended:
        status = ended.code
    finally:
        os.chdir(here)
        sys.argv = argv
    if status == 0:
        return None
    sentences = [line for line in said.getvalue().splitlines() if line.startswith("pyrobust: ")]
    if "Usage: " in said.getvalue():  # the parser of options says how it is used
        sentences = [said.getvalue()]
    assert status == 2, said.getvalue()
    # A traceback may show the code of the user's own, but none of this project's.
    assert len(sentences) == 1 and not re.search('File ".*/pyrobust/', said.getvalue()), (
        said.getvalue()
    )
    assert tree(folder) == before, f"left behind: {tree(folder).keys() ^ before.keys()}"
    return sentences[0]

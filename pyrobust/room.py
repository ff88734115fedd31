"""Whether the disk or the memory holds what is to come, checked before any work is done."""

import os
import shutil
from pathlib import Path

from pyrobust.errors import UserError


def size_text(num_bytes: float) -> str:
    """Return bytes in the largest unit that leaves a number of 1 or more."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.3g} {unit}"
    return f"{num_bytes / 1e3:.3g} kB"


def free_space(folder: Path) -> int:
    """Return the free bytes of the disk that holds `folder`, which need not exist yet."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def check_room(folder: Path, size: int, what: str, advice: str = "use a larger disk") -> None:
    """Refuse what the disk of `folder` does not hold.

    Files of an earlier run in `folder`, which are overwritten, count as free.

    Args:
        size: bytes.
        what: needs them, for the message.
        advice: what to do about it, for the message.

    Raises:
        UserError: less is free.
    """
    written = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > (free := free_space(folder) + written):
        raise UserError(
            f"{what} needs {size_text(size)} in {folder}, but only {size_text(free)} are free; "
            f"{advice}"
        )


def check_memory(size: int, what: str) -> None:
    """Refuse what the memory of this machine does not hold.

    Args:
        size: bytes.
        what: needs them, for the message.

    Raises:
        UserError: the machine has less.
    """
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > whole:
        raise UserError(
            f"{what} needs {size_text(size)} of memory, but this machine has "
            f"{size_text(whole)}; the file is damaged, or needs a larger machine"
        )

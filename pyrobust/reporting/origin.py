"""Where a page comes from: the command that makes it, and the commit of the code."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Origin:
    """What leads to the page again."""

    command: str
    commit: str | None
    """None where the code is in no checkout of git."""


def commit_of(folder: Path) -> str | None:
    """Return the commit that a folder with an `__init__.py` was checked out from, and whether
    tracked files have changed since; None where it is no part of a repository."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # An installed package can lie inside of another project's repository.
        git("ls-files", "--error-unmatch", "__init__.py")
        commit = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}, with changes" if changed else commit

"""A process that dies at a given file, in place of a real kill."""

from pathlib import Path

import pytest


class Killed(BaseException):
    """No handler of errors catches it, as none catches a kill."""


def kill_at_rename(patch: pytest.MonkeyPatch, number: int) -> None:
    """Raise `Killed` in place of the rename with this number, from 0, and of all later ones."""
    left = [number]
    rename = Path.replace

    def replace(self: Path, target: Path) -> Path:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return rename(self, target)

    patch.setattr(Path, "replace", replace)

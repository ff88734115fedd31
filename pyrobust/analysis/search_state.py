"""What a search has found so far, kept for the process that goes on after a kill."""

import time
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from pyrobust.files import atomic_path


class SearchState:
    """A file with the nearest of the points that were compared so far.

    Args:
        path: of the file; its suffix is .npz.
        identity: digest of all that the search depends on; the state of another one is dropped.
        seconds: between two savings, since 100M samples take 1.6 GB each time.
    """

    def __init__(self, path: Path, identity: str, seconds: float = 300) -> None:
        self._path = path
        self._identity = identity
        self._seconds = seconds
        self._saved = time.monotonic()

    def load(self, index: np.ndarray, squared_distance: np.ndarray) -> int:
        """Fill both arrays (n,) as they were saved; return how many points were compared."""
        try:
            with np.load(self._path, allow_pickle=False) as state:
                if str(state["identity"]) != self._identity:
                    return 0
                done, saved = int(state["done"]), (state["index"], state["squared_distance"])
            index[:], squared_distance[:] = saved
            return done
        except (OSError, EOFError, KeyError, ValueError, BadZipFile):
            return 0

    def save(self, done: int, index: np.ndarray, squared_distance: np.ndarray) -> None:
        """Keep both arrays, unless they were kept a short while ago."""
        if time.monotonic() - self._saved < self._seconds:
            return
        with atomic_path(self._path) as temporary:
            np.savez(
                temporary,
                done=done,
                identity=self._identity,
                index=index,
                squared_distance=squared_distance,
            )
        self._saved = time.monotonic()

    def remove(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)

"""What a search has found so far, in files that a later run or another job resumes from."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pyrobust.files import atomic_path, computed_again_if_damaged

# Seconds between two savings: 100M samples take 1.6 GB each time.
_SAVE_SECONDS = 300.0


class SearchState:
    """A file with the nearest of the points that were compared so far.

    Args:
        path: of the file; its suffix is .npz.
        identity: digest of all that the search depends on; the state of another one is dropped.
        queries: rows that are searched for.
        save_seconds: between two savings.
    """

    def __init__(
        self, path: Path, identity: str, queries: range, save_seconds: float = _SAVE_SECONDS
    ) -> None:
        self.queries = queries
        self._path = path
        self._identity = identity
        self._save_seconds = save_seconds
        self._started = self._saved = time.monotonic()
        self._seconds_before = 0.0

    @property
    def seconds(self) -> float:
        """Seconds of the search so far, those of earlier runs included."""
        return self._seconds_before + time.monotonic() - self._started

    def load(self, index: np.ndarray, squared_distance: np.ndarray) -> int:
        """Fill both arrays (n,) as they were saved; return how many points were compared."""
        self._started = time.monotonic()
        if not self._path.exists():
            return 0
        with computed_again_if_damaged(self._path):
            with np.load(self._path, allow_pickle=False) as state:
                if str(state["identity"]) != self._identity:
                    return 0
                done, saved = int(state["done"]), (state["index"], state["squared_distance"])
                seconds = float(state["seconds"])
            index[:], squared_distance[:] = saved
            self._seconds_before = seconds
            return done
        return 0

    def save(
        self, done: int, index: np.ndarray, squared_distance: np.ndarray, final: bool = False
    ) -> None:
        """Keep both arrays, unless they were kept a short while ago.

        Args:
            final: whether all points were compared; they are then kept in any case.
        """
        if not final and time.monotonic() - self._saved < self._save_seconds:
            return
        with atomic_path(self._path) as temporary:
            np.savez(
                temporary,
                done=done,
                identity=self._identity,
                seconds=self.seconds,
                index=index,
                squared_distance=squared_distance,
            )
        self._saved = time.monotonic()


class SearchStates:
    """The states of one search, whose queries several jobs may share.

    Args:
        folder: of all states; it is removed once the result is written.
        identity: digest of all that the search depends on.
        save_seconds: between two savings of a state.
    """

    def __init__(self, folder: Path, identity: str, save_seconds: float = _SAVE_SECONDS) -> None:
        self._folder = folder / identity[:16]
        self._identity = identity
        self._save_seconds = save_seconds
        self.others = sorted(path for path in folder.glob("*/*.npz") if path.parent != self._folder)
        """States of other identities, which are not resumed."""

    def covering(self, queries: range) -> list[SearchState]:
        """Return one state for each piece of `queries`, in order: saved ones, and new ones between.

        Of saved ranges that overlap, the longest is used; none reaches outside `queries`.
        """
        used: list[range] = []
        for saved in sorted(self._saved_ranges(), key=lambda saved: (-len(saved), saved.start)):
            inside = saved.start in queries and saved.stop - 1 in queries
            if inside and all(saved.stop <= one.start or one.stop <= saved.start for one in used):
                used.append(saved)
        pieces: list[range] = []
        first = queries.start
        for saved in [
            *sorted(used, key=lambda saved: saved.start),
            range(queries.stop, queries.stop),
        ]:
            pieces += [range(first, saved.start), saved]
            first = saved.stop
        return [self._state(piece) for piece in pieces if piece]

    def _state(self, queries: range) -> SearchState:
        path = self._folder / f"{queries.start}-{queries.stop}.npz"
        return SearchState(path, self._identity, queries, self._save_seconds)

    def _saved_ranges(self) -> Sequence[range]:
        names = (path.stem.split("-") for path in self._folder.glob("[0-9]*-[0-9]*.npz"))
        return [range(int(first), int(stop)) for first, stop in names if int(first) < int(stop)]

"""What happens when a run is killed: signals, and the state it resumes from.

It lies under `state/<hash of all that the result depends on>/`, so a run with other settings never
continues it. It is removed when the run ends.
"""

import hashlib
import json
import logging
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from torch import Tensor

from pyrobust.errors import EXIT_RESUMABLE, UserError, lacks_memory
from pyrobust.files import read_json, write_json
from pyrobust.tensors import read_tensors, write_tensors

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Interrupted(SystemExit):
    """The run was asked to stop and saved its state; the exit status is 75."""

    def __init__(self) -> None:
        super().__init__(EXIT_RESUMABLE)

    def __str__(self) -> str:
        """Say in a Python session what the exit status says to a scheduler."""
        return "stopped by a signal; the state is saved, and the same call with output= resumes"


@dataclass
class Interruption:
    """Whether a signal has come."""

    requested: bool = False


@contextmanager
def noting_signals() -> Iterator[Interruption]:
    """Note SIGTERM and SIGUSR1 (Slurm's warning before pre-emption) instead of dying of them.

    Only the main thread of a process can; in another thread the signals do what they did before.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return

    def note(number: int, frame: FrameType | None) -> None:
        interruption.requested = True

    before = {number: signal.signal(number, note) for number in STOP_SIGNALS}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SavedState:
    """Tensors by name, and JSON values such as the step."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


class StateFolder:
    """The state of one run.

    Args:
        folder: folder of the run's results.
        identity: JSON values of everything that the result depends on: settings, inputs.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self._all = folder / "state"
        self._identity = json.loads(json.dumps(identity))
        text = json.dumps(self._identity, sort_keys=True)
        self.path = self._all / hashlib.sha256(text.encode()).hexdigest()[:16]
        self._file = self.path / "state.safetensors"

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Replace the saved state."""
        identity = self.path / "identity.json"
        if not identity.is_file():
            write_json(identity, self._identity)
        write_tensors(self._file, tensors, facts)

    def load(self) -> SavedState | None:
        """Return the saved state; None if there is none for this identity.

        A state of another identity is not used, and a line says in which keys it differs.

        Raises:
            UserError: the file is damaged.
        """
        if not self._file.is_file():
            self._log_others()
            return None
        return SavedState(*read_tensors(self._file, self._mended_by))

    @contextmanager
    def fitting(self) -> Iterator[None]:
        """Refuse a saved state that the block cannot load, such as one of another version.

        Raises:
            UserError: names the file and what to do.
        """
        try:
            yield
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            if lacks_memory(error) or "CUDA error" in str(error):
                raise
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise UserError(
                f"{self._file} is damaged or of another version ({reason[0]}); {self._mended_by}"
            ) from error

    @property
    def _mended_by(self) -> str:
        return f"remove {self._all} to start from scratch"

    def remove(self) -> None:
        """Remove the states of this folder, those of other settings included."""
        shutil.rmtree(self._all, ignore_errors=True)

    def _log_others(self) -> None:
        for other in sorted(self._all.glob("*/identity.json")):
            try:
                identity = read_json(other, "pyrobust train")
            except UserError:
                continue
            told = ", ".join(differences(identity, self._identity))
            logger.info(
                "%s belongs to other settings and is not resumed: %s", other.parent.name, told
            )


def differences(theirs: Any, ours: Any) -> Iterator[str]:
    """Yield "key: theirs -> ours" for every key in which two JSON values differ."""
    left, right = dict(_flatten(theirs)), dict(_flatten(ours))
    for key in sorted(left.keys() | right.keys()):
        if left.get(key) != right.get(key):
            yield f"{key}: {left.get(key)} there, {right.get(key)} here"


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield prefix, value
        return
    for key, inner in value.items():
        yield from _flatten(inner, f"{prefix}.{key}" if prefix else key)

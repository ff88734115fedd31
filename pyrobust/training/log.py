"""The log of a run: one JSON object per line, and the same numbers in experiment trackers."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from pyrobust.trackers import TrackerName, Trackers, open_trackers


class JsonLog:
    """Appends lines to an open file, and their numbers to trackers."""

    def __init__(self, file: BinaryIO, trackers: Trackers) -> None:
        self._file, self._trackers = file, trackers

    def write(self, line: Mapping[str, Any]) -> None:
        """Append one line."""
        self._file.write((json.dumps(line) + "\n").encode())
        self._file.flush()
        numbers = {
            key: value
            for key, value in line.items()
            if key != "step" and isinstance(value, int | float)
        }
        self._trackers.log(*_key(line), numbers)

    def position(self) -> int:
        """Return the number of bytes written, after flushing file and trackers to disk."""
        self._trackers.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()


@contextmanager
def open_log(
    folder: Path,
    position: int,
    step: int,
    trackers: Sequence[TrackerName],
    config: Mapping[str, Any],
) -> Iterator[JsonLog]:
    """Open `log.jsonl`; a resumed run first cuts off what came after its state.

    Args:
        position: bytes to keep.
        step: step of the saved state, 0 for a new run.
        trackers: where the numbers also go; TensorBoard writes to `tensorboard/` beside the log.
        config: JSON values that trackers show as the run's settings.
    """
    path = folder / "log.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.seek(min(position, file.seek(0, os.SEEK_END)))
        already_sent = _keys(file.read()) if step else frozenset()
        file.truncate(min(position, file.tell()))
        file.seek(0, os.SEEK_END)
        opened = open_trackers(trackers, folder, config, step=step, already_sent=already_sent)
        with opened as open_ones:
            yield JsonLog(file, open_ones)


def _key(line: Mapping[str, Any]) -> tuple[int, str]:
    """Return (step, split), which names a line."""
    return line["step"], line.get("split", "train")


def _keys(lines: bytes) -> frozenset[tuple[int, str]]:
    """Return the names of all complete lines; a power failure may leave others that are none."""
    keys = set()
    for line in lines[: lines.rfind(b"\n") + 1].splitlines():
        with suppress(ValueError, LookupError, TypeError, AttributeError):
            keys.add(_key(json.loads(line)))
    return frozenset(keys)

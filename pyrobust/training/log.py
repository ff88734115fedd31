"""The log of a run: one JSON object a line, and the same numbers as TensorBoard curves."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


class JsonLog:
    """Appends lines to an open file and, where there are some, points to curves."""

    def __init__(self, file: BinaryIO, curves: Any | None) -> None:
        self._file, self._curves = file, curves

    def write(self, line: Mapping[str, Any]) -> None:
        """Append one line."""
        self._file.write((json.dumps(line) + "\n").encode())
        self._file.flush()
        if self._curves is None:
            return
        split = line.get("split", "train")
        for key, value in line.items():
            if isinstance(value, float):
                self._curves.add_scalar(f"{split}/{key}", value, line["step"])

    def position(self) -> int:
        """Return the bytes written, all of them on the disk, as are the curves."""
        if self._curves is not None:
            self._curves.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()


@contextmanager
def open_log(folder: Path, position: int, step: int, curves: bool) -> Iterator[JsonLog]:
    """Open `log.jsonl`; a resumed run first cuts off what came after its state.

    Args:
        position: bytes to keep.
        step: step of the state, after which older curves are hidden.
        curves: whether to write TensorBoard curves to `tensorboard/` beside the log.
    """
    path, curve_folder = folder / "log.jsonl", folder / "tensorboard"
    folder.mkdir(parents=True, exist_ok=True)
    if step == 0:
        shutil.rmtree(curve_folder, ignore_errors=True)
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.truncate(min(position, file.seek(0, os.SEEK_END)))
        file.seek(0, os.SEEK_END)
        writer = _curve_writer(curve_folder, step) if curves else None
        try:
            yield JsonLog(file, writer)
        finally:
            if writer is not None:
                writer.close()


def _curve_writer(folder: Path, step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1)  # type: ignore[no-untyped-call]

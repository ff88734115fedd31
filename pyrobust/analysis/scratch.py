"""Rows of float32 in a temporary file: written once, then read piece by piece."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from pyrobust.errors import UserError


class ScratchRows:
    """Rows that need no memory but for the piece that is read; the file goes with the object.

    Read with plain reads: the pages of a memory map would count as resident.

    Args:
        blocks: (n, width) float32 each, in order.
        folder: where the file is made; it has no name there and cannot be left behind.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """

    def __init__(self, blocks: Iterable[np.ndarray], width: int, folder: Path) -> None:
        count = 0
        try:
            self._file = TemporaryFile(dir=folder)  # noqa: SIM115
            for block in blocks:
                np.ascontiguousarray(block, np.float32).tofile(self._file)
                count += len(block)
        except OSError as error:
            raise UserError(f"cannot write a temporary file in {folder}: {error}") from error
        self.shape = (count, width)

    def __getitem__(self, piece: slice) -> np.ndarray:
        """Return rows in order, (n, width) float32."""
        first, last, _ = piece.indices(self.shape[0])
        width = self.shape[1]
        self._file.seek(4 * width * first)
        values = np.fromfile(self._file, np.float32, max(0, last - first) * width)
        return values.reshape(-1, width)

"""Rows of float32 in a temporary file: written once, then read piece by piece."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np


class ScratchRows:
    """Rows that need no memory but for the piece that is read; the file goes with the object.

    Read with plain reads: the pages of a memory map would count as resident.

    Args:
        blocks: (n, width) float32 each, in order.
        folder: where the file is made; it has no name there and cannot be left behind.
    """

    def __init__(self, blocks: Iterable[np.ndarray], width: int, folder: Path) -> None:
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115
        count = 0
        for block in blocks:
            np.ascontiguousarray(block, np.float32).tofile(self._file)
            count += len(block)
        self.shape = (count, width)

    def __getitem__(self, piece: slice) -> np.ndarray:
        """Return rows in order, (n, width) float32."""
        first, last, _ = piece.indices(self.shape[0])
        width = self.shape[1]
        self._file.seek(4 * width * first)
        values = np.fromfile(self._file, np.float32, max(0, last - first) * width)
        return values.reshape(-1, width)

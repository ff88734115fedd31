"""Shuffle rows by a seeded permutation, with sequential reads only.

Reading 100M rows one by one from all over a store takes hours on any disk. Rows are therefore
moved twice. First they are read in order, and each is appended to the file of its block of the
result. Then one block at a time is read and permuted in memory. A file holds the rows of its block
in ascending order; the permutation determines the rest.
"""

import shutil
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pyrobust.data.permutation import permute, unpermute
from pyrobust.errors import UserError
from pyrobust.files import read_json, write_json
from pyrobust.progress import counting

_STATE = "state.json"

# Bytes of rows that are put in order at a time.
_BLOCK_BYTES = 1 << 28

# Row numbers (n,), consecutive, from where the last ones ended -> the rows, (n, ...) uint8.
Read = Callable[[np.ndarray], np.ndarray]


def block_of_shards(shard_size: int, row_bytes: int) -> int:
    """Return the rows of a block: a quarter of a gigabyte in whole shards.

    A block is thus on the disk before the next one is taken.
    """
    return shard_size * max(1, _BLOCK_BYTES // (shard_size * row_bytes))


class ShuffledRows:
    """Row i of the result is row `permute(i, count, seed)` of what is read.

    Args:
        folder: of the blocks' files, none where there is one block; what a killed process left
            there is used. Together they hold what has not been taken yet.
        read: reads rows.
        row_shape: of a row.
        count: rows in all.
        block_size: rows of a block; two blocks are held in memory.
        identity: all that decides the rows, as JSON; files of another one are dropped.
    """

    def __init__(
        self,
        folder: Path,
        read: Read,
        row_shape: tuple[int, ...],
        count: int,
        seed: int,
        block_size: int,
        identity: Mapping[str, Any],
    ) -> None:
        self._folder = folder
        self._read = read
        self._row_shape = row_shape
        self._count = count
        self._seed = seed
        self._block_size = block_size
        self._num_blocks = -(-count // block_size)
        self._identity = {"count": count, "seed": seed, "block_size": block_size, **identity}
        self._sizes = [0] * self._num_blocks  # bytes of each file
        self._sums = [0] * self._num_blocks  # and its CRC-32

    def distribute(self, first: int) -> None:
        """Append all rows to the files of their blocks, from where a killed process stopped.

        Args:
            first: the first row of the result that will be taken.

        Raises:
            UserError: a file cannot be written, or the disk is full.
        """
        if self._num_blocks == 1:
            return
        done = self._resume(first // self._block_size)
        with counting(self._count, "sort into blocks", "rows", done=done) as advance:
            for start in range(done, self._count, self._block_size):
                rows = np.arange(start, min(start + self._block_size, self._count))
                self._append(rows, self._read(rows))
                self._save(start + len(rows))
                advance(len(rows))

    def take(self, first: int) -> np.ndarray:
        """Return the rows of the result from `first` to the end of its block, (n, ...) uint8.

        Blocks before it are removed: whoever takes has written them by now.

        Raises:
            UserError: a file differs from what was written, for example after a power failure.
        """
        block = first // self._block_size
        start = block * self._block_size
        places = np.arange(start, min(start + self._block_size, self._count))
        rows = permute(places, self._count, self._seed)
        order = np.argsort(rows)
        if self._num_blocks == 1:
            stored = self._read(rows[order])
        else:
            for earlier in range(block):
                self._path(earlier).unlink(missing_ok=True)
            stored = self._stored(block)
        result = np.empty_like(stored)
        result[order] = stored
        return result[first - start :]

    def _append(self, rows: np.ndarray, values: np.ndarray) -> None:
        blocks = unpermute(rows, self._count, self._seed) // self._block_size
        order = np.argsort(blocks, kind="stable")
        bounds = np.searchsorted(blocks[order], np.arange(self._num_blocks + 1))
        for block in np.flatnonzero(np.diff(bounds)).tolist():
            piece = values[order[bounds[block] : bounds[block + 1]]].tobytes()
            try:
                with self._path(block).open("ab") as file:
                    file.write(piece)
            except OSError as error:
                raise UserError(f"cannot write {self._path(block)}: {error}") from error
            self._sizes[block] += len(piece)
            self._sums[block] = zlib.crc32(piece, self._sums[block])

    def _save(self, done: int) -> None:
        state = {"done": done, "sizes": self._sizes, "sums": self._sums}
        write_json(self._folder / _STATE, {"identity": self._identity, **state})

    def _resume(self, block: int) -> int:
        """Return how many rows are in the files, from `block` on, of an equal shuffle.

        What a killed process appended after it saved its state is cut off.
        """
        try:
            state = read_json(self._folder / _STATE, made_by="")
            sizes = state["sizes"]
            if state["identity"] == self._identity and all(
                self._cut(number, sizes[number]) for number in range(block, self._num_blocks)
            ):
                self._sizes, self._sums = sizes, state["sums"]
                return int(state["done"])
        except (UserError, LookupError, TypeError, ValueError):
            pass
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        return 0

    def _cut(self, block: int, size: int) -> bool:
        """Truncate a file to `size` bytes; return whether it had that many."""
        path = self._path(block)
        there = path.stat().st_size if path.is_file() else 0
        if there > size:
            with path.open("ab") as file:
                file.truncate(size)
        return there >= size

    def _stored(self, block: int) -> np.ndarray:
        """Return the rows of a block as they lie in its file."""
        values = np.fromfile(self._path(block), np.uint8)
        if zlib.crc32(values.data) != self._sums[block]:
            shutil.rmtree(self._folder)
            raise UserError(
                f"{self._path(block)} was damaged and has been removed; run the same command again"
            )
        return values.reshape(-1, *self._row_shape)

    def _path(self, block: int) -> Path:
        return self._folder / f"{block}.rows"

"""Arrays in shards: columns of equal length, split into `.npy` files with one JSON index.

Readers map shards one at a time, and read rows that lie far apart, so that memory stays bounded
however many there are.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from pyrobust.errors import UserError
from pyrobust.files import read_json, sha256_of

# What NumPy raises for a damaged header, which it reads by `tokenize` and `ast.literal_eval`.
_BAD_HEADER = (ValueError, TypeError, SyntaxError, TokenError, MemoryError, RecursionError)

# Linux maps so much around the address of a page fault.
_FAULT_BYTES = 1 << 16

ShardEntry = dict[str, Any]  # {"count": rows, "<column>": SHA-256 of its file, ...}


@dataclass(frozen=True)
class Column:
    """What one row of a column is."""

    dtype: str
    shape: tuple[int, ...] = ()


def shard_path(folder: Path, column: str, shard: int) -> Path:
    """Return the file of one column of one shard."""
    return folder / f"{column}-{shard:05}.npy"


def read_index(path: Path, form: str, version: int, made_by: str, what: str) -> dict[str, Any]:
    """Read the index of a finished writer.

    Args:
        form, version: its `format` and `version`.
        what: the folder holds, in the plural.

    Raises:
        UserError: it is missing, or is an index of something else or of another version.
    """
    index = read_json(path, made_by)
    if index.get("format") != form:
        raise UserError(f"{path} is not an index of {what}; run '{made_by}' to write one")
    if index["version"] != version:
        raise UserError(
            f"{path.parent} has {what} of version {index['version']}, but version {version} is "
            f"required; run '{made_by}' again to rewrite them"
        )
    return index


class ShardReader:
    """Reads the rows of a finished writer; each file is verified before its first row is used.

    Args:
        made_by: the command that wrote them; it is named where a file is damaged.

    Raises:
        UserError: a file is missing, torn, or not what the index says.
    """

    def __init__(
        self,
        folder: Path,
        columns: Mapping[str, Column],
        shards: Sequence[ShardEntry],
        made_by: str,
    ) -> None:
        self._folder = folder
        self._columns = dict(columns)
        self._shards = [{name: shard[name] for name in ("count", *columns)} for shard in shards]
        self._made_by = made_by
        self._intact: set[tuple[str, int]] = set()
        # Global index of the first row of each shard, and the count of all rows at the end.
        self._starts = np.cumsum([0, *(shard["count"] for shard in shards)], dtype=np.int64)
        self._offsets = {
            name: [self._data_offset(name, number) for number in range(len(shards))]
            for name in columns
        }

    @property
    def count(self) -> int:
        """Rows in all shards."""
        return int(self._starts[-1])

    def whole(self, column: str, dtype: DTypeLike | None = None) -> np.ndarray:
        """Return all rows of a column, in its own type or in `dtype`, which must hold them."""
        kind = self._columns[column]
        rows = np.empty((self.count, *kind.shape), kind.dtype if dtype is None else dtype)
        for first, shard in self.each(column):
            rows[first : first + len(shard)] = shard
        return rows

    def each(self, column: str) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (index of its first row, its mapped rows) of every shard in order."""
        for number, first in enumerate(self._starts[:-1].tolist()):
            yield first, self._map(column, number)

    def gather(self, column: str, index: np.ndarray) -> np.ndarray:
        """Return the rows at `index`, in its order; at most one shard is open at a time."""
        if index.size and (index.min() < 0 or index.max() >= self.count):
            raise IndexError(f"rows {index.min()} to {index.max()}, expected 0 to {self.count - 1}")
        order = np.argsort(index, kind="stable")
        ordered = index[order]
        bounds = np.searchsorted(ordered, self._starts)
        rows = self._empty(column, len(index))
        for number in np.flatnonzero(np.diff(bounds)).tolist():
            here = slice(bounds[number], bounds[number + 1])
            rows[order[here]] = self._take(column, number, ordered[here] - self._starts[number])
        return rows

    def blocks(self, column: str, size: int, start: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (index of the first row, up to `size` rows) in order, from row `start` on."""
        for first in range(start, self.count, size):
            last = min(first + size, self.count)
            yield first, self.gather(column, np.arange(first, last))

    def verify(self) -> None:
        """Compare every file with its hash.

        Raises:
            UserError: names the first file that differs.
        """
        self._intact.clear()
        for number in range(len(self._shards)):
            for name in self._columns:
                self._check(name, number)

    def _check(self, column: str, number: int) -> None:
        """Compare a file with its hash, once for each reader."""
        if (column, number) in self._intact:
            return
        path = shard_path(self._folder, column, number)
        if sha256_of(path) != self._shards[number][column]:
            raise UserError(
                f"{path} does not match its SHA-256, so it was modified; run '{self._made_by}' "
                "again to rewrite it"
            )
        self._intact.add((column, number))

    def _shape(self, column: str, number: int) -> tuple[int, ...]:
        return (self._shards[number]["count"], *self._columns[column].shape)

    def _empty(self, column: str, count: int) -> np.ndarray:
        kind = self._columns[column]
        return np.empty((count, *kind.shape), kind.dtype)

    def _take(self, column: str, number: int, rows: np.ndarray) -> np.ndarray:
        """Return rows of a shard, which ascend."""
        values = self._empty(column, len(rows))
        row_bytes = values.nbytes // len(rows)
        if (rows[-1] - rows[0] + 1) * row_bytes <= len(rows) * _FAULT_BYTES:
            near: np.ndarray = self._map(column, number)[rows]
            return near
        # Each would be a separate page fault, which takes longer than reading it, as does
        # mapping the shard.
        self._check(column, number)
        path, start = shard_path(self._folder, column, number), self._offsets[column][number]
        parts = values.view(np.uint8).reshape(len(rows), row_bytes)
        with path.open("rb", buffering=0) as file:
            for part, row in zip(parts, rows.tolist(), strict=True):
                if os.preadv(file.fileno(), [part.data], start + row * row_bytes) != row_bytes:
                    raise UserError(
                        f"{path} became shorter while it was read; run '{self._made_by}' again "
                        "to rewrite it"
                    )
        return values

    def _map(self, column: str, number: int) -> np.ndarray:
        self._check(column, number)
        # Mapped again each time: a mapping that is kept would keep its pages resident.
        return np.memmap(
            shard_path(self._folder, column, number),
            dtype=self._columns[column].dtype,
            mode="r",
            offset=self._offsets[column][number],
            shape=self._shape(column, number),
        )

    def _data_offset(self, column: str, number: int) -> int:
        """Check the header and the size of one file and return where its data start."""
        path = shard_path(self._folder, column, number)
        expected = np.dtype(self._columns[column].dtype)
        shape = self._shape(column, number)
        try:
            with path.open("rb") as file:
                version = np.lib.format.read_magic(file)
                if version != (1, 0):
                    raise ValueError(f"npy version {version}")
                found_shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
                offset = file.tell()
            if (found_shape, fortran, dtype) != (shape, False, expected):
                raise ValueError(f"{dtype} of {found_shape}, expected {expected} of {shape}")
            size = offset + expected.itemsize * int(np.prod(shape))
            if path.stat().st_size != size:
                raise ValueError(f"{path.stat().st_size} bytes, expected {size}")
        except (OSError, *_BAD_HEADER) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(
                f"{path} is damaged ({reason}); run '{self._made_by}' again to rewrite it"
            ) from error
        return offset

"""Writes shards, and resumes where an interrupted writer stopped.

A shard is complete or absent, the index is written last, and an interrupted writer leaves
`progress.json`, from which the next one resumes.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pyrobust.data.shards import Column, ShardEntry, shard_path
from pyrobust.errors import UserError
from pyrobust.files import atomic_path, read_json, sha256_of, write_json

_PROGRESS = "progress.json"


class ShardWriter:
    """Writes rows in shards of equal size, and resumes where an interrupted writer stopped.

    Args:
        total: number of rows of the finished store.
        identity: all that decides the bytes. Shards that an earlier writer of the same identity
            left, and whose hashes still hold, are kept: the caller starts at row `count`.
    """

    def __init__(
        self,
        folder: Path,
        index_name: str,
        columns: Mapping[str, Column],
        total: int,
        shard_size: int,
        identity: Mapping[str, Any],
    ) -> None:
        self._folder = folder
        self._index_name = index_name
        self._columns = dict(columns)
        self._total = total
        self._shard_size = shard_size
        cut = {"total": total, "shard_size": shard_size}
        self._identity = _digest({**_described(columns), **cut, **identity})
        self._shards = self._shards_that_hold()
        try:
            self._clean()
        except OSError as error:
            raise UserError(f"cannot write {folder}: {error.strerror}") from error
        self._pending: list[dict[str, np.ndarray]] = []
        self._num_pending = 0

    @property
    def count(self) -> int:
        """Rows that are written or handed over."""
        return self._written + self._num_pending

    @property
    def _written(self) -> int:
        return sum(shard["count"] for shard in self._shards)

    def append(self, **rows: np.ndarray) -> None:
        """Add rows, one array for each column; they reach the disk when a shard is full."""
        lengths = {name: len(values) for name, values in rows.items()}
        if set(rows) != set(self._columns) or len(set(lengths.values())) != 1:
            raise ValueError(f"rows are {lengths}, expected equally many of {set(self._columns)}")
        for name, column in self._columns.items():
            if rows[name].dtype != column.dtype or rows[name].shape[1:] != column.shape:
                raise ValueError(
                    f"{name} is {rows[name].dtype} of {rows[name].shape[1:]} a row, "
                    f"expected {column.dtype} of {column.shape}"
                )
        taken, count = 0, next(iter(lengths.values()))
        while taken < count:
            until = min(count, taken + self._next_shard_size() - self._num_pending)
            # A copy, since the caller may use its array again before the shard is full.
            self._pending.append({name: rows[name][taken:until].copy() for name in rows})
            self._num_pending += until - taken
            taken = until
            if self._num_pending == self._next_shard_size():
                self._write_shard()

    def finish(self, index: Mapping[str, Any]) -> None:
        """Write the index, after which the rows can be read, and drop the state of the writer."""
        if self.count != self._total:
            raise ValueError(f"{self.count} rows are written, expected {self._total}")
        contents = {**index, "count": self._total, "shards": self._shards}
        write_json(self._folder / self._index_name, {**contents, "identity": self._identity})
        (self._folder / _PROGRESS).unlink(missing_ok=True)

    def _next_shard_size(self) -> int:
        size = min(self._shard_size, self._total - self._written)
        if size == 0:
            raise ValueError(f"more rows than the {self._total} that were announced")
        return size

    def _write_shard(self) -> None:
        entry: ShardEntry = {"count": self._num_pending}
        for name in self._columns:
            values = np.concatenate([rows[name] for rows in self._pending])
            with atomic_path(shard_path(self._folder, name, len(self._shards))) as temporary:
                np.save(temporary, values, allow_pickle=False)
                entry[name] = sha256_of(temporary)
        self._pending, self._num_pending = [], 0
        self._shards.append(entry)
        state = {"identity": self._identity, "shards": self._shards}
        write_json(self._folder / _PROGRESS, state)

    def _shards_that_hold(self) -> list[ShardEntry]:
        """Return the leading shards of an earlier writer that are still what it wrote."""
        for name in (self._index_name, _PROGRESS):
            try:
                state = read_json(self._folder / name, made_by="")
                if state["identity"] != self._identity:
                    continue
                kept = []
                for number, entry in enumerate(state["shards"]):
                    if not self._holds(number, entry):
                        break
                    kept.append(entry)
                return kept
            except (UserError, LookupError, TypeError):
                continue
        return []

    def _holds(self, number: int, entry: ShardEntry) -> bool:
        paths = {name: shard_path(self._folder, name, number) for name in self._columns}
        return all(path.is_file() and sha256_of(path) == entry[n] for n, path in paths.items())

    def _clean(self) -> None:
        """Remove the old index first, then every shard that this writer will not keep."""
        if not self._folder.is_dir():
            return
        (self._folder / self._index_name).unlink(missing_ok=True)
        if self._shards:
            state = {"identity": self._identity, "shards": self._shards}
            write_json(self._folder / _PROGRESS, state)
        else:
            (self._folder / _PROGRESS).unlink(missing_ok=True)
        kept = {
            shard_path(self._folder, name, number).name
            for name in self._columns
            for number in range(len(self._shards))
        }
        for name in self._columns:
            # The second pattern is the temporary file of a writer that was killed.
            for pattern in (f"{name}-*.npy", f".{name}-*.npy"):
                for path in self._folder.glob(pattern):
                    if path.name not in kept:
                        path.unlink()


def _described(columns: Mapping[str, Column]) -> dict[str, Any]:
    return {"columns": {name: [column.dtype, *column.shape] for name, column in columns.items()}}


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

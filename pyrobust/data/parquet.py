"""Parquet files as the Hugging Face hub lays them out: an image column and a label column."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyrobust.data.raw import (
    RawDataset,
    RawImage,
    RawSplit,
    decode_image,
    distinct_names,
    find_class_names,
    hashes,
)
from pyrobust.data.raw_files import by_split, data_files, names_splits
from pyrobust.errors import UserError, reason_of
from pyrobust.room import check_memory

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

_IMAGE_COLUMNS = ("img", "image")
_LABEL_COLUMNS = ("label", "fine_label", "coarse_label")
_BATCH = 256


def read_parquet(folder: Path, name: str) -> RawDataset:
    """Return the data set of the Parquet files below `folder`, by the splits that they name.

    Raises:
        UserError: a file is damaged, lacks a column or names no split where others do.
    """
    found = data_files(folder, {".parquet"}, "a Parquet file")
    splits = by_split(found, folder)
    stated = _stated_names([file for files in splits.values() for file in files])
    labels = {split: _labels_of(files) for split, files in splits.items()}
    read = {split: _split(files, labels[split], folder) for split, files in splits.items()}
    first = "train" if "train" in splits else next(iter(splits), None)
    if first is None:
        raise UserError(f"{folder} has no Parquet file; add train*.parquet and test*.parquet")
    num_classes = int(labels[first].max(initial=-1)) + 1
    return RawDataset(
        stated or find_class_names(folder, name, num_classes),
        read.get("train"),
        read.get("test"),
        partial(hashes, folder, [file for files in splits.values() for file in files]),
        validation=read.get("validation"),
        names_splits=names_splits(found, folder),
    )


def _split(files: list[Path], labels: np.ndarray, folder: Path) -> RawSplit:
    def read(rows: np.ndarray) -> Iterator[RawImage]:
        first = 0
        for path in files:
            with _opened(path) as file:
                count = file.metadata.num_rows
                here = rows[(rows >= first) & (rows < first + count)] - first
                yield from _images_of(path, file, here)
            first += count

    names = files[0].name if len(files) == 1 else f"{files[0].name} ... {files[-1].name}"
    return RawSplit(labels, read, f"{folder}/{names}")


def _images_of(path: Path, file: "ParquetFile", rows: np.ndarray) -> Iterator[RawImage]:
    """Yield the images at `rows` of one file; row groups without any of them are not read."""
    column = _column(path, file, _IMAGE_COLUMNS, "image")
    first = 0
    for group in range(file.num_row_groups):
        last = first + file.metadata.row_group(group).num_rows
        wanted = set(rows[(rows >= first) & (rows < last)].tolist())
        row = first
        batches = file.iter_batches(_BATCH, row_groups=[group], columns=[column]) if wanted else ()
        for batch in _readable(path, batches):
            for value in batch.column(0):
                if row in wanted:
                    yield decode_image(_bytes_of(value, path, row), f"row {row} of {path}")
                row += 1
        first = last


def _bytes_of(value: Any, path: Path, row: int) -> bytes:
    content = value.as_py()
    data = content.get("bytes") if isinstance(content, dict) else content
    if not isinstance(data, bytes):
        raise UserError(f"row {row} of {path} has no image bytes; expected a PNG or JPEG file")
    return data


def _labels_of(files: list[Path]) -> np.ndarray:
    """Return the labels of all files, (N,) int64."""
    import pyarrow as pa

    parts = []
    for path in files:
        with _opened(path) as file:
            column = _column(path, file, _LABEL_COLUMNS, "label")
            if not pa.types.is_integer(file.schema_arrow.field(column).type):
                raise UserError(
                    f"column {column} of {path} has type "
                    f"{file.schema_arrow.field(column).type}; expected integers"
                )
            check_memory(8 * file.metadata.num_rows, f"reading the labels of {path}")
            for batch in _readable(path, file.iter_batches(columns=[column])):
                values = batch.column(0)
                if values.null_count:
                    raise UserError(
                        f"column {column} of {path} has {values.null_count} null values; remove "
                        "these rows"
                    )
                parts.append(values.to_numpy().astype(np.int64))
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _column(path: Path, file: "ParquetFile", names: tuple[str, ...], what: str) -> str:
    found = [name for name in names if name in file.schema_arrow.names]
    if found == list(_IMAGE_COLUMNS):
        raise UserError(f"{path} has the image columns {' and '.join(found)}; keep one of them")
    if found:
        if file.schema_arrow.names.count(found[0]) > 1:
            raise UserError(f"{path} has two columns {found[0]}; keep one of them")
        return found[0]
    raise UserError(
        f"{path} has no {what} column among {', '.join(file.schema_arrow.names)}; expected one "
        f"of: {', '.join(names)}"
    )


def _stated_names(files: list[Path]) -> tuple[str, ...] | None:
    """Return the class names in the hub's metadata of the files; None if none states them.

    Raises:
        UserError: two files number different classes, or by different columns.
    """
    columns: dict[str, Path] = {}
    stated: dict[tuple[str, ...], Path] = {}
    for path in files:
        with _opened(path) as file:
            column = _column(path, file, _LABEL_COLUMNS, "label")
            metadata = (file.schema_arrow.metadata or {}).get(b"huggingface", b"{}")
        columns.setdefault(column, path)
        try:
            names = json.loads(metadata)["info"]["features"][column]["names"]
            stated.setdefault(distinct_names([str(name) for name in names]), path)
        except (ValueError, KeyError, TypeError):
            continue
    facts: tuple[tuple[str, dict[Any, Path]], ...] = (("columns", columns), ("classes", stated))
    for what, found in facts:
        if len(found) > 1:
            (one, first), (other, second) = list(found.items())[:2]
            raise UserError(
                f"the labels of {first} and {second} have different {what}, {one} and {other}; "
                "number all files alike"
            )
    return next(iter(stated), None)


def _opened(path: Path) -> "ParquetFile":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    # A name of a column that is not UTF-8 is a ValueError.
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def _readable(path: Path, batches: Any) -> Iterator[Any]:
    """Yield what `batches` yields, and report damage as a `UserError`."""
    import pyarrow as pa

    try:
        yield from batches
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> UserError:
    reason = reason_of(error).rstrip(".")
    return UserError(f"{path} is damaged ({reason}); download it again")

"""The published `.npz` files of images and labels, read block by block."""

import math
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from pyrobust.data.raw import RawDataset, RawImage, RawSplit, find_class_names, hashes
from pyrobust.data.raw_files import by_split, data_files, names_splits
from pyrobust.data.store import ImageShape, SampleStore
from pyrobust.errors import UserError
from pyrobust.files import atomic_path
from pyrobust.room import check_memory

# What such a file is called in messages.
NPZ = "an .npz file"

_BLOCK = 1000

# Dates of zip members are fixed, so that equal images give equal files.
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def read_npz(folder: Path, name: str) -> RawDataset:
    """Return the data set of the .npz files below `folder`, by the splits that they name.

    Raises:
        UserError: a file is damaged, its arrays are not images and labels, or it names no split
            where others do.
    """
    files = data_files(folder, {".npz"}, NPZ)
    splits = {split: _split(part) for split, part in by_split(files, folder).items()}
    first = splits.get("train") or next(iter(splits.values()), None)
    if first is None:
        raise UserError(f"{folder} has no .npz file; add train.npz and test.npz")
    num_classes = int(first.labels.max(initial=-1)) + 1
    return RawDataset(
        find_class_names(folder, name, num_classes),
        splits.get("train"),
        splits.get("test"),
        partial(hashes, folder, files),
        validation=splits.get("validation"),
        names_splits=names_splits(files, folder),
    )


def npz_image_shape(path: Path) -> tuple[int, ImageShape]:
    """Return the number of images in a file and their shape (H, W, C).

    Raises:
        UserError: the member `image` is missing, or is not uint8 of (N, H, W, C), C 1 or 3.
    """
    member, size = _member(path, "image")
    with member as file:
        shape, dtype = _header(path, "image", file, size)
    if dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3):
        raise UserError(
            f"'image' in {path} has type {dtype} and shape {shape}; expected uint8 of shape (N, "
            "H, W, C), C 1 or 3"
        )
    return shape[0], (shape[1], shape[2], shape[3])


def npz_labels(path: Path) -> np.ndarray:
    """Return the member `label`, (N,) int64.

    Raises:
        UserError: it is missing, is not integers, or has another length than `image`.
    """
    count, _ = npz_image_shape(path)
    member, size = _member(path, "label")
    with member as file:
        shape, dtype = _header(path, "label", file, size)
        if dtype.kind not in "iu" or shape != (count,):
            raise UserError(
                f"'label' in {path} has type {dtype} and shape {shape}; expected integers of "
                f"shape ({count},)"
            )
        check_memory(8 * count, f"reading the labels of {path}")
        data = _read_exactly(path, file, count * dtype.itemsize)
    return np.frombuffer(data, dtype).astype(np.int64)


def npz_blocks(path: Path, size: int = _BLOCK) -> Iterator[np.ndarray]:
    """Yield the images in order, up to `size` at a time, decompressing as it goes."""
    count, shape = npz_image_shape(path)
    member, whole = _member(path, "image")
    with member as file:
        _header(path, "image", file, whole)
        for first in range(0, count, size):
            block = (min(size, count - first), *shape)
            data = _read_exactly(path, file, int(np.prod(block)))
            yield np.frombuffer(data, np.uint8).reshape(block)


def write_npz(store: SampleStore, path: Path) -> None:
    """Write a labelled store as one `.npz` of `image` and `label`; labels alone are held whole.

    Raises:
        UserError: the name does not end in .npz, and may be that of a file of the store.
    """
    if path.suffix != ".npz":
        raise UserError(f"output is {path}, expected a name that ends in .npz")
    labels = store.labels()
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        with archive.open(_zip_info("image"), "w", force_zip64=True) as file:
            _write_header(file, (store.count, *store.image_shape), np.dtype(np.uint8))
            for _, images in store.blocks(_BLOCK):
                file.write(images.tobytes())
        with archive.open(_zip_info("label"), "w", force_zip64=True) as file:
            _write_header(file, labels.shape, labels.dtype)
            file.write(labels.tobytes())


def _split(files: list[Path]) -> RawSplit:
    def read(rows: np.ndarray) -> Iterator[RawImage]:
        first = 0
        for path in files:
            for block in npz_blocks(path):
                last = first + len(block)
                for row in rows[(rows >= first) & (rows < last)].tolist():
                    yield RawImage(block[row - first], f"row {row} of {path}")
                first = last

    return RawSplit(np.concatenate([npz_labels(p) for p in files]), read, str(files[0]))


def _member(path: Path, name: str) -> tuple[IO[bytes], int]:
    """Open an array of the file, and return its size in bytes, too."""
    try:
        # The open member keeps the archive alive.
        archive = zipfile.ZipFile(path)
        members = archive.namelist()
        if f"{name}.npy" not in members:
            found = ", ".join(member.removesuffix(".npy") for member in members[:6])
            raise UserError(
                f"{path} has no array '{name}' (its arrays: {found or 'none'}); save 'image' "
                "(uint8, N×H×W×C) and 'label' (integers, N), one file per split"
            )
        size = archive.getinfo(f"{name}.npy").file_size
        return archive.open(f"{name}.npy"), size
    except (OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged ({error}): fetch it again") from error


def _header(path: Path, name: str, file: IO[bytes], size: int) -> tuple[tuple[int, ...], np.dtype]:
    """Read the .npy header; the data follow.

    Args:
        size: bytes of the member, header and data.
    """
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    except Exception as error:  # whatever NumPy's parser or zlib raise on other bytes
        raise UserError(
            f"'{name}' in {path} is not an array ({error}); download the file again"
        ) from error
    if fortran or dtype.hasobject:
        raise UserError(
            f"'{name}' in {path} is in Fortran order or contains objects; save it as a "
            "contiguous array of numbers"
        )
    promised = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or file.tell() + promised != size:
        raise UserError(
            f"'{name}' in {path} is damaged: its header announces {promised:,} bytes of "
            f"{shape}, but the file has {size - file.tell():,}; download it again"
        )
    return shape, dtype


def _read_exactly(path: Path, file: IO[bytes], size: int) -> bytes:
    try:
        data = file.read(size)
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} is damaged ({error}): fetch it again") from error
    if len(data) != size:
        raise UserError(f"{path} is damaged (it is truncated); download it again")
    return data


def _zip_info(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(f"{name}.npy", _ZIP_DATE)


def _write_header(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype) -> None:
    head = {"shape": shape, "fortran_order": False, "descr": np.lib.format.dtype_to_descr(dtype)}
    np.lib.format.write_array_header_1_0(file, head)

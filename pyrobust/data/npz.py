"""The published `.npz` files of images and labels, read without being loaded."""

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from pyrobust.data.raw import RawDataset, RawImage, RawSplit, find_class_names, hashes
from pyrobust.data.store import ImageShape, SampleStore
from pyrobust.errors import UserError
from pyrobust.files import atomic_path

_BLOCK = 1000

# Dates of zip members are fixed, so that equal images give equal files.
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def read_npz(folder: Path, name: str) -> RawDataset:
    """Return the data set of train*.npz and test*.npz in `folder`, or of one other .npz file.

    Raises:
        UserError: a file is damaged, or its arrays are not images and labels.
    """
    files = sorted(folder.glob("*.npz"))
    test = [file for file in files if file.name.startswith("test")]
    train = [file for file in files if file not in test]
    if not train:
        raise UserError(f"{folder} has no .npz file of a training split: put train.npz in")
    splits = [_split(part) for part in (train, test) if part]
    num_classes = int(splits[0].labels.max(initial=-1)) + 1
    return RawDataset(
        find_class_names(folder, name, num_classes),
        splits[0],
        splits[1] if test else None,
        hashes(folder, files),
    )


def npz_image_shape(path: Path) -> tuple[int, ImageShape]:
    """Return the number of images in a file and their shape (H, W, C).

    Raises:
        UserError: the member `image` is missing, or is not uint8 of (N, H, W, C), C 1 or 3.
    """
    with _member(path, "image") as file:
        shape, dtype = _header(path, "image", file)
    if dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3):
        raise UserError(f"'image' in {path} is {dtype} of {shape}, expected uint8 of (N, H, W, 3)")
    return shape[0], (shape[1], shape[2], shape[3])


def npz_labels(path: Path) -> np.ndarray:
    """Return the member `label`, (N,) int64.

    Raises:
        UserError: it is missing, is not integers, or has another length than `image`.
    """
    count, _ = npz_image_shape(path)
    with _member(path, "label") as file:
        shape, dtype = _header(path, "label", file)
        if dtype.kind not in "iu" or shape != (count,):
            raise UserError(
                f"'label' in {path} is {dtype} of {shape}, expected integers ({count},)"
            )
        data = _read_exactly(path, file, count * dtype.itemsize)
    return np.frombuffer(data, dtype).astype(np.int64)


def npz_blocks(path: Path, size: int = _BLOCK) -> Iterator[np.ndarray]:
    """Yield the images in order, up to `size` at a time, decompressing as it goes."""
    count, shape = npz_image_shape(path)
    with _member(path, "image") as file:
        _header(path, "image", file)
        for first in range(0, count, size):
            block = (min(size, count - first), *shape)
            data = _read_exactly(path, file, int(np.prod(block)))
            yield np.frombuffer(data, np.uint8).reshape(block)


def write_npz(store: SampleStore, path: Path) -> None:
    """Write a labelled store as one `.npz` of `image` and `label`; labels alone are held whole."""
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


def _member(path: Path, name: str) -> IO[bytes]:
    try:
        # The open member keeps the archive alive.
        return zipfile.ZipFile(path).open(f"{name}.npy")
    except KeyError as error:
        raise UserError(f"{path} has no array '{name}', expected 'image' and 'label'") from error
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged ({error}): fetch it again") from error


def _header(path: Path, name: str, file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Read the .npy header; the data follow."""
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise UserError(f"'{name}' in {path} is no array ({error}): fetch it again") from error
    if fortran or dtype.hasobject:
        raise UserError(f"'{name}' in {path} is in Fortran order or holds objects, expected bytes")
    return shape, dtype


def _read_exactly(path: Path, file: IO[bytes], size: int) -> bytes:
    try:
        data = file.read(size)
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} is damaged ({error}): fetch it again") from error
    if len(data) != size:
        raise UserError(f"{path} is damaged (it ends too early): fetch it again")
    return data


def _zip_info(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(f"{name}.npy", _ZIP_DATE)


def _write_header(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype) -> None:
    head = {"shape": shape, "fortran_order": False, "descr": np.lib.format.dtype_to_descr(dtype)}
    np.lib.format.write_array_header_1_0(file, head)

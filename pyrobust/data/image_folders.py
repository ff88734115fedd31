"""Image folders: one folder a class, below train/ and test/ or alone."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pyrobust.data.permutation import permute
from pyrobust.data.raw import RawDataset, RawImage, RawSplit, decode_image, read_bytes
from pyrobust.errors import UserError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".webp"})


def class_folders(folder: Path) -> list[Path]:
    """Return the folders in `folder`, one a class, by name."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def has_images(folder: Path) -> bool:
    """Tell whether an image lies directly in `folder`."""
    return any(path.suffix.lower() in SUFFIXES for path in folder.iterdir())


def read_folder(folder: Path, name: str) -> RawDataset:
    """Return the data set of train/<class>/* and test/<class>/*, or of <class>/* alone.

    A folder val or valid stands in for test. The files of a folder have no order of their own:
    they are shuffled with a fixed seed, so that any first few are of all classes.

    Raises:
        UserError: there are no class folders, or test has a class that train has not.
    """
    train = folder / "train"
    has_splits = train.is_dir()
    test = next((folder / n for n in ("test", "val", "valid") if (folder / n).is_dir()), None)
    names = tuple(path.name for path in class_folders(train if has_splits else folder))
    if not names:
        raise UserError(f"{folder} has no folder of images a class: put train/<class>/*.png in")
    if not has_splits:
        train, test = folder, None
    train_files = _files(train, names)
    test_files = _files(test, names) if test else []
    return RawDataset(
        names,
        _split(train_files, names, train),
        _split(test_files, names, test) if test else None,
        {
            path.name: _digest(path, files)
            for path, files in ((train, train_files), (test, test_files))
            if path
        },
    )


def _files(folder: Path, names: tuple[str, ...]) -> list[Path]:
    unknown = [path.name for path in class_folders(folder) if path.name not in names]
    if unknown:
        raise UserError(f"{folder / unknown[0]} is a class that the training split does not have")
    files = [
        path
        for name in names
        if (folder / name).is_dir()
        for path in sorted((folder / name).iterdir())
        if path.suffix.lower() in SUFFIXES
    ]
    return [files[k] for k in permute(np.arange(len(files)), len(files), seed=0).tolist()]


def _split(files: list[Path], names: tuple[str, ...], folder: Path) -> RawSplit:
    def read(rows: np.ndarray) -> Iterator[RawImage]:
        for row in rows.tolist():
            yield decode_image(read_bytes(files[row]), str(files[row]))

    numbers = {name: number for number, name in enumerate(names)}
    labels = np.array([numbers[file.parent.name] for file in files], np.int64)
    return RawSplit(labels, read, str(folder))


def _digest(folder: Path, files: list[Path]) -> str:
    """Return one SHA-256 for the names and contents of all files."""
    digest = hashlib.sha256()
    for file in files:
        content = hashlib.sha256(read_bytes(file)).hexdigest()
        digest.update(f"{file.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()

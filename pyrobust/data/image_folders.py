"""Image folders: one folder per class, with or without folders of splits around them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pyrobust.data.permutation import permute
from pyrobust.data.raw import (
    CLASSES_FILE,
    RawDataset,
    RawImage,
    RawSplit,
    decode_image,
    read_bytes,
    read_class_names,
)
from pyrobust.data.raw_files import (
    RawSplitName,
    check_one_folder,
    data_files,
    empty_folders,
    image_suffixes,
    split_of,
    validation_as_test,
)
from pyrobust.errors import UserError


@dataclass(frozen=True)
class _ClassFolder:
    """A folder of images of one class."""

    root: Path  # of the split
    name: str
    files: tuple[Path, ...]


def read_folder(folder: Path, name: str) -> RawDataset:
    """Return the data set of SPLIT/<class>/* below `folder`, or of <class>/* in it.

    Classes are numbered in the order of `classes.txt` in `folder`, else of their names. Images
    are shuffled with a fixed seed, so that the first ones are of all classes.

    Raises:
        UserError: an image lies elsewhere, or a split has a class that train does not have.
    """
    splits = _class_folders(folder)
    first = splits.get("train") or next(iter(splits.values()), [])
    names = tuple(sorted({found.name for found in first}))
    if (folder / CLASSES_FILE).is_file():
        names = read_class_names(folder / CLASSES_FILE)
    if not names or not first:
        raise UserError(f"{folder} has no class folders; add train/<class>/*.png")
    owner = CLASSES_FILE if (folder / CLASSES_FILE).is_file() else "the training split"
    for found in (found for folders in splits.values() for found in folders):
        if found.name not in names:
            raise UserError(f"{found.root / found.name} is a class that {owner} does not have")
    read: dict[RawSplitName, RawSplit] = {}
    files_of: dict[Path, list[Path]] = {}
    for split, folders in splits.items():
        files = [file for found in folders for file in found.files]
        shuffled = permute(np.arange(len(files)), len(files), seed=0).tolist()
        ordered = [files[k] for k in shuffled]
        root = folders[0].root
        read[split] = _split(ordered, names, root)
        files_of[root] = ordered
    return RawDataset(
        names,
        read.get("train"),
        read.get("test"),
        lambda: {root.name: _digest(root, files) for root, files in files_of.items()},
        validation=read.get("validation"),
        names_splits=first[0].root != folder,
    )


def _class_folders(folder: Path) -> dict[RawSplitName, list[_ClassFolder]]:
    """Return the class folders of each split, by name."""
    files: dict[Path, list[Path]] = {}
    for file in data_files(folder, image_suffixes(), "an image that Pillow reads"):
        files.setdefault(file.parent, []).append(file)
    named: dict[RawSplitName | None, list[_ClassFolder]] = {}
    for place in sorted({*files, *empty_folders(folder)}):
        split = _split_at(place, folder)
        if split == "elsewhere":
            if place in files:
                raise UserError(
                    f"{files[place][0]} is in neither {folder}/<split>/<class>/ nor "
                    f"{folder}/<class>/; move it into the folder of its class"
                )
            continue
        found = _ClassFolder(place.parent, place.name, tuple(files.get(place, ())))
        named.setdefault(split, []).append(found)
    unnamed = named.pop(None, [])
    if named:  # an empty folder next to the splits
        unnamed = [found for found in unnamed if found.files]
    if unnamed and (named or all(split_of(Path(found.name)) for found in unnamed)):
        raise UserError(
            f"{unnamed[0].root / unnamed[0].name} is not a class folder of a split; put images "
            f"into {folder}/<split>/<class>/, or into {folder}/<class>/ without splits"
        )
    splits: dict[RawSplitName, list[_ClassFolder]] = {"train": unnamed} if unnamed else {}
    splits |= {split: folders for split, folders in named.items() if split is not None}
    for split, folders in splits.items():
        check_one_folder(split, (found.root for found in folders))
    return validation_as_test(splits)


def _split_at(place: Path, folder: Path) -> RawSplitName | Literal["elsewhere"] | None:
    """Return the split of a class folder; None for one that lies in `folder` itself."""
    parts = place.relative_to(folder).parts
    if len(parts) == 1:
        return None
    return (split_of(Path(parts[-2])) if parts else None) or "elsewhere"


def _split(files: list[Path], names: tuple[str, ...], root: Path) -> RawSplit:
    def read(rows: np.ndarray) -> Iterator[RawImage]:
        for row in rows.tolist():
            yield decode_image(read_bytes(files[row]), str(files[row]))

    numbers = {name: number for number, name in enumerate(names)}
    labels = np.array([numbers[file.parent.name] for file in files], np.int64)
    return RawSplit(labels, read, str(root))


def _digest(root: Path, files: list[Path]) -> str:
    """Return one SHA-256 for the names and contents of all files."""
    digest = hashlib.sha256()
    for file in files:
        content = hashlib.sha256(read_bytes(file)).hexdigest()
        digest.update(f"{file.relative_to(root).as_posix()} {content}\n".encode())
    return digest.hexdigest()

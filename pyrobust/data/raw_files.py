"""Find raw data: each file is used, known to contain no data, or refused by name.

Splits are recognised as on the Hugging Face hub: by a word in any part of a file's path, such as
`train-00000-of-00002.parquet`, `default/test/0000.parquet` or `data/val.npz`.
"""

import re
import stat
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path, PurePath
from typing import Literal, TypeVar

from PIL import Image

from pyrobust.errors import UserError

RawSplitName = Literal["train", "validation", "test"]
Value = TypeVar("Value")

_WORDS: dict[str, RawSplitName] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}

# Beside the data: descriptions, checksums, scripts. Hidden files hold no data either, among them
# the ._ files that macOS writes.
_NO_DATA = frozenset(
    f".{suffix}"
    for suffix in (
        *("bib", "cff", "cfg", "css", "csv", "db", "html", "ini", "ipynb", "json", "jsonl", "log"),
        *("md", "md5", "pdf", "py", "rst", "sh", "sha256", "toml", "tsv", "txt", "xml", "yaml"),
        *("yml",),
    )
)
_NO_DATA_NAMES = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
_SHARD = re.compile(r"([0-9]+)-of-([0-9]+)")


@cache
def image_suffixes() -> frozenset[str]:
    """Return the suffixes of all image files that Pillow reads."""
    return frozenset(
        suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN
    )


def is_visible(name: str) -> bool:
    """Return whether a name is neither hidden nor that of a file of the operating system."""
    return not name.startswith(".") and name.lower() not in _NO_DATA_NAMES


def visible_files(folder: Path) -> Iterator[Path]:
    """Yield the files below `folder` that are not hidden, in links to folders too.

    Raises:
        UserError: a link leads back to a folder above it, or a name is not that of a file.
    """
    for path in _visible(folder, (folder.resolve(),)):
        if not stat.S_ISREG(_mode(path)):
            raise UserError(f"{path} is neither a file nor a folder; move it elsewhere")
        yield path


def empty_folders(folder: Path) -> Iterator[Path]:
    """Yield the folders with nothing but hidden files: a class may have no image in a split."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink() and is_visible(path.name):
            if any(is_visible(inner.name) for inner in path.iterdir()):
                yield from empty_folders(path)
            else:
                yield path


def data_files(folder: Path, suffixes: Collection[str], what: str) -> list[Path]:
    """Return the files below `folder` with these suffixes, in order.

    Args:
        what: kind of the files, for the message.

    Raises:
        UserError: another file may hold data, too; names it.
    """
    files = []
    for path in visible_files(folder):
        if path.suffix.lower() in suffixes:
            files.append(path)
        elif not _holds_no_data(path):
            raise UserError(
                f"{path} is neither {what} nor a known file without data; move it out of "
                f"{folder}, or use another folder with --data-root"
            )
    return sorted(files)


def split_of(path: PurePath) -> RawSplitName | None:
    """Return the split that a path names; None where it names none.

    Raises:
        UserError: it names two.
    """
    words = re.split(r"[^a-z]+", path.as_posix().lower())
    found = sorted({_WORDS[word] for word in words if word in _WORDS})
    if len(found) > 1:
        raise UserError(f"{path} names several splits ({' and '.join(found)}); name only one")
    return found[0] if found else None


def by_split(files: Iterable[Path], folder: Path) -> dict[RawSplitName, list[Path]]:
    """Return files by their split; if no name contains one, all are the training split.

    Without a test split, the validation images are the test images, as usual for ImageNet.

    Raises:
        UserError: some files name a split and others do not, a split is spread over several
            folders, or one of its numbered parts is missing.
    """
    named: dict[RawSplitName | None, list[Path]] = {}
    for path in files:
        named.setdefault(split_of(path.relative_to(folder)), []).append(path)
    unnamed = named.pop(None, [])
    if unnamed and named:
        raise UserError(
            f"{unnamed[0]} names no split, but other files in {folder} do; put train, "
            "validation or test into its path, or move it elsewhere"
        )
    splits: dict[RawSplitName, list[Path]] = {"train": unnamed} if unnamed else {}
    for split, paths in named.items():
        if split is not None:
            splits[split] = paths
    for split, paths in splits.items():
        _check_whole(split, paths)
    return validation_as_test(splits)


def names_splits(files: Iterable[Path], folder: Path) -> bool:
    """Whether files below `folder` are named after splits."""
    return any(split_of(path.relative_to(folder)) for path in files)


def validation_as_test(splits: dict[RawSplitName, Value]) -> dict[RawSplitName, Value]:
    """Return the splits with the validation images as test images where there are no others."""
    if "validation" in splits and "test" not in splits:
        splits = {**splits, "test": splits["validation"]}
        del splits["validation"]
    return splits


def _visible(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if not is_visible(path.name):
            continue
        if not path.is_dir():
            yield path
        elif (real := path.resolve()) in above:
            raise UserError(f"{path} links to a folder that contains it; remove the link")
        else:
            yield from _visible(path, (*above, real))


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def _holds_no_data(path: Path) -> bool:
    suffix = path.suffix.lower()
    # README, LICENSE, SHA256SUMS and the like.
    return suffix in _NO_DATA or (not suffix and path.name.isupper())


def check_one_folder(split: str, folders: Iterable[Path]) -> None:
    """Raise a UserError if a split is in several folders."""
    first, *others = sorted(set(folders))
    if others:
        raise UserError(
            f"the {split} split is in several folders, {first} and {others[0]}; keep one "
            "of them, or merge them"
        )


def _check_whole(split: str, paths: list[Path]) -> None:
    check_one_folder(split, (path.parent for path in paths))
    parts = [match for path in paths if (match := _SHARD.search(path.stem))]
    numbers = {int(match[1]) for match in parts}
    for match in parts:
        missing = sorted(set(range(int(match[2]))) - numbers)
        if missing:
            raise UserError(
                f"part {missing[0]} of {int(match[2])} of the {split} split is missing next to "
                f"{paths[0]}; download it"
            )

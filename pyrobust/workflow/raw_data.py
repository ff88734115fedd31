"""Raw files of a data set: whether they are there, and a digest that notices a change.

The digest says what is read and not where it lies, so that neither another folder nor other times
of the files make a finished data set stale.
"""

import hashlib
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pyrobust.config.data import DatasetSettings
from pyrobust.errors import UserError

# Written next to dataset.json: the raw files of a data set, for when they have been deleted.
DIGEST = "raw.digest"

# Data sets that need no raw files: torchvision downloads them, or scikit-learn has them.
_PUBLISHED = ("cifar10", "cifar100", "svhn", "digits")

# Of so few files the contents count as well, each by its first and last bytes: archives of equal
# size may differ. Of more, such as a folder of images, names and sizes do.
_FEW_FILES = 200
_ENDS = 1 << 20

# Of more files, listing their labels would take longer than seconds.
_CHECKED_FILES = 20_000


@dataclass(frozen=True)
class RawSource:
    """Where the raw files of a data set lie, as flags of `pyrobust dataset`.

    Snakemake compares parameters of built-in types alone: this one triggers no rerun.
    """

    data_root: str
    path: str | None

    def __str__(self) -> str:
        """Return the flags, quoted for the shell."""
        words = ["--data-root", self.data_root]
        return shlex.join(words if self.path is None else [*words, "--path", self.path])

    def folder(self, name: str) -> Path:
        """Return the folder of the raw files of a data set."""
        return Path(self.path) if self.path else Path(self.data_root, name)


def check_raw(name: str, settings: DatasetSettings, source: RawSource, dataset: Path) -> None:
    """Refuse a data set that can be neither read nor downloaded, before anything runs.

    Splits of files of the user's own are checked as `pyrobust dataset` checks them, unless there
    are very many files.

    Args:
        dataset: its index file; once that is written, the raw files may be removed.

    Raises:
        UserError: names the folder, or the setting that does not fit the files.
    """
    if dataset.exists():
        return
    # A function of the user's own may fetch its data from anywhere.
    has_own = (
        settings.layout == "digits"
        or ":" in settings.layout
        or (settings.layout in ("auto", "torchvision") and name in _PUBLISHED)
    )
    folder = source.folder(name)
    if not has_own and not folder.exists():
        raise UserError(
            f"no raw files of '{name}': there is no folder {folder} (docs/data.md); put them "
            "there, or name another folder with --config data_root=DIR"
        )
    if folder.is_dir() and _is_of_the_user(name, settings, folder):
        from pyrobust.data.prepare import check_settings  # which needs NumPy and Pillow

        check_settings(name, folder, settings)


def _is_of_the_user(name: str, settings: DatasetSettings, folder: Path) -> bool:
    """Return whether `folder` has few enough files, and none of a published archive."""
    files = list(islice(_files(folder), _CHECKED_FILES + 1))
    return (
        settings.layout in ("auto", "folder", "npz", "parquet")
        and 0 < len(files) <= _CHECKED_FILES
        and not _downloaded(name, files)
    )


def raw_digest(name: str, source: RawSource, dataset: Path) -> str:
    """Return a digest of the raw files, or "published" where a download is read.

    Args:
        dataset: index file of the data set, in the same folder as `DIGEST`.
    """
    folder = source.folder(name)
    files = sorted(_files(folder)) if folder.is_dir() else []
    if files and not _downloaded(name, files):
        return _digest(folder, files)
    try:
        return dataset.with_name(DIGEST).read_text(encoding="utf-8")
    except OSError:
        return "published"


def _downloaded(name: str, files: list[tuple[str, int]]) -> bool:
    """Return whether all files are what torchvision downloads and unpacks."""
    ours = ("cifar-10", "cifar-100", "train_32x32.mat", "test_32x32.mat", "extra_32x32.mat")
    return name in _PUBLISHED and all(path.startswith(ours) for path, _ in files)


def _files(folder: Path, below: str = "") -> Iterator[tuple[str, int]]:
    """Yield path and bytes of each file, hidden ones left out."""
    with os.scandir(folder / below) as entries:
        for entry in entries:
            path = f"{below}{entry.name}"
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _files(folder, f"{path}/")
            else:
                yield path, entry.stat().st_size


def _digest(folder: Path, files: list[tuple[str, int]]) -> str:
    digest = hashlib.sha256()
    for path, size in files:
        digest.update(f"{path}\0{size}\0".encode(errors="surrogateescape"))
        if len(files) <= _FEW_FILES:
            with (folder / path).open("rb") as file:
                digest.update(file.read(_ENDS))
                file.seek(max(0, size - _ENDS))
                digest.update(file.read(_ENDS))
    return digest.hexdigest()

"""Recognise the layout of a folder of raw files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from pyrobust.data import tinyimagenet
from pyrobust.data.image_folders import read_folder
from pyrobust.data.npz import read_npz
from pyrobust.data.parquet import read_parquet
from pyrobust.data.raw import KNOWN, RawDataset, array_split
from pyrobust.data.raw_files import image_suffixes, visible_files
from pyrobust.data.torchvision_layouts import ARCHIVES, find_kind, read_torchvision
from pyrobust.errors import UserError
from pyrobust.files import sha256_of
from pyrobust.imports import import_object, source_sha256
from pyrobust.own_code import running


def read_digits(folder: Path, name: str) -> RawDataset:
    """Return the digits; the 17 shades 0..16 become round(shade · 255 / 16)."""
    import sklearn.datasets

    digits = sklearn.datasets.load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    file = Path(sklearn.datasets.__file__).parent / "data" / "digits.csv.gz"
    train = array_split(images, digits.target, "scikit-learn's digits")
    return RawDataset(KNOWN["digits"], train, None, lambda: {file.name: sha256_of(file)})


LAYOUTS: dict[str, Callable[[Path, str], RawDataset]] = {
    "digits": read_digits,
    "torchvision": read_torchvision,
    "parquet": read_parquet,
    "tinyimagenet": tinyimagenet.read_tinyimagenet,
    "folder": read_folder,
    "npz": read_npz,
}


def read_layout(layout: str, folder: Path, name: str) -> RawDataset:
    """Return the data set in `folder`, by one of `LAYOUTS` or a function of the user's own.

    Args:
        layout: key of `LAYOUTS`, or MODULE:NAME of a function with their signature. Its source
            file then counts among the sources of the data set.
        name: the data set's name.

    Raises:
        UserError: the files are damaged, or the function does not exist or returns something else.
    """
    if ":" not in layout:
        return LAYOUTS[layout](folder, name)
    read = import_object(layout, "layout", "my_data:read_stripes")
    with running(layout):
        raw = read(folder, name)
    if not isinstance(raw, RawDataset):
        raise UserError(
            f"layout {layout} returned a {type(raw).__name__}; expected a pyrobust.data.RawDataset"
        )
    return replace(raw, sources={**raw.source_hashes, layout: str(source_sha256(read))})


def detect_layout(folder: Path, name: str) -> str:
    """Return the layout of the raw files in `folder`; a missing torchvision set is downloaded.

    Args:
        name: the data set's name, which decides what to do if `folder` is missing.

    Raises:
        UserError: no layout matches; the message says which files to put where.
    """
    suffixes = {path.suffix.lower() for path in visible_files(folder)}
    if ".parquet" in suffixes:
        return "parquet"
    if (folder / tinyimagenet.ARCHIVE).is_file() or _is_tinyimagenet(folder):
        return "tinyimagenet"
    if ".npz" in suffixes:
        return "npz"
    if find_kind(folder):
        return "torchvision"
    if suffixes & image_suffixes():
        return "folder"
    if name == "digits":
        return "digits"
    if name in ARCHIVES:
        return "torchvision"
    archive = f"{tinyimagenet.ARCHIVE}, or " if name == "tinyimagenet" else ""
    missing = "" if folder.is_dir() else ", which is not a folder"
    raise UserError(
        f"no raw files of '{name}' in {folder}{missing}; put {archive}train*.parquet and "
        "test*.parquet, train/<class>/*.png and test/<class>/*.png, or train.npz and test.npz "
        "there, or name another folder"
    )


def _is_tinyimagenet(folder: Path) -> bool:
    return any((root / "wnids.txt").is_file() for root in (folder, folder / tinyimagenet.ROOT))

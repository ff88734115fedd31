"""CIFAR-10, CIFAR-100 and SVHN as torchvision downloads and checks them."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pyrobust.data.raw import KNOWN, RawDataset, array_split, hashes
from pyrobust.errors import UserError

# What a user who has no network puts into the folder.
ARCHIVES: dict[str, tuple[str, ...]] = {
    "cifar10": ("cifar-10-python.tar.gz",),
    "cifar100": ("cifar-100-python.tar.gz",),
    "svhn": ("train_32x32.mat", "test_32x32.mat"),
}
_UNPACKED = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}

_SECONDS_TO_CONNECT = 20.0


def find_kind(folder: Path) -> str | None:
    """Return which of the three data sets `folder` holds in this layout, if any."""
    for kind, archives in ARCHIVES.items():
        if any((folder / name).exists() for name in (*archives, _UNPACKED.get(kind, archives[0]))):
            return kind
    return None


def read_torchvision(folder: Path, name: str) -> RawDataset:
    """Return one of the three data sets, downloaded where it is not there.

    torchvision compares each file with its published MD5 before it reads it.

    Raises:
        UserError: the files are missing and cannot be fetched, or are damaged.
    """
    kind = find_kind(folder) or name
    if kind not in ARCHIVES:
        raise UserError(
            f"unknown torchvision data set '{name}'; choose one of: {', '.join(ARCHIVES)}"
        )
    train, test = (_open(kind, folder, split) for split in ("train", "test"))
    files = [folder / archive for archive in ARCHIVES[kind] if (folder / archive).is_file()]
    if not files:
        files = sorted(path for path in (folder / _UNPACKED[kind]).iterdir() if path.is_file())
    return RawDataset(
        KNOWN[kind],
        array_split(*train, f"the training split in {folder}"),
        array_split(*test, f"the test split in {folder}"),
        partial(hashes, folder, files),
    )


def _open(kind: str, folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, H, W, C) uint8 and labels (N,) of one split."""
    data = _torchvision_dataset(kind, folder, split)
    if kind == "svhn":
        return data.data.transpose(0, 2, 3, 1), np.asarray(data.labels)
    return data.data, np.asarray(data.targets)


def _torchvision_dataset(kind: str, folder: Path, split: str) -> Any:
    from torchvision import datasets

    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _connection_timeout():
            if kind == "svhn":
                return datasets.SVHN(str(folder), split=split, download=True)
            cifar = datasets.CIFAR10 if kind == "cifar10" else datasets.CIFAR100
            return cifar(str(folder), train=split == "train", download=True)
    except Exception as error:  # torchvision lets through whatever the network or tar raised
        with suppress(OSError):  # something was put into it
            for path in made:
                path.rmdir()
        raise UserError(
            f"{kind} is missing or incomplete in {folder} and could not be downloaded "
            f"({error}); put {' and '.join(ARCHIVES[kind])} or Parquet files train*.parquet and "
            "test*.parquet there, or use another folder with --data-root"
        ) from error


@contextmanager
def _connection_timeout() -> Iterator[None]:
    """Give up on a network that swallows packets; torchvision sets no limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SECONDS_TO_CONNECT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)

"""TinyImageNet as its authors pack it: tiny-imagenet-200.zip, or the folder inside."""

import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from pyrobust.data.raw import RawDataset, RawImage, RawSplit, decode_image, read_bytes
from pyrobust.data.raw_files import is_visible, visible_files
from pyrobust.errors import UserError
from pyrobust.files import sha256_of

ARCHIVE = "tiny-imagenet-200.zip"
ROOT = "tiny-imagenet-200"

# Bytes of an unpacked file; the longest list of names has three million.
_LARGEST_MEMBER = 1 << 26

_Read = Callable[[str], bytes]


def read_tinyimagenet(folder: Path, name: str) -> RawDataset:
    """Return TinyImageNet; its val/ is the test split, since the labels of test/ are not public.

    Classes are in the order of their WordNet ids and named by the first word of each. A few
    images are grey; they become colour images like the others.

    Raises:
        UserError: a file is missing or damaged.
    """
    path, files, read = _open(folder)
    numbers = {wordnet_id: k for k, wordnet_id in enumerate(sorted(_text(read, "wnids.txt")))}
    words = dict(line.partition("\t")[::2] for line in _text(read, "words.txt"))
    train = [
        (file, numbers[parts[1]])
        for file in files
        if len(parts := file.split("/")) == 4 and parts[0] == "train" and parts[1] in numbers
    ]
    try:
        annotations = [line.split("\t") for line in _text(read, "val/val_annotations.txt")]
        test = [(f"val/images/{Path(name).name}", numbers[k]) for name, k, *_ in annotations]
    except (KeyError, ValueError) as error:
        raise UserError(f"val/val_annotations.txt in {path} is damaged ({error})") from error
    first_words = [words.get(wordnet_id, wordnet_id).split(",")[0] for wordnet_id in numbers]
    return RawDataset(
        _distinct(first_words, list(numbers)),
        _split(read, train, f"train/ of {path}"),
        _split(read, test, f"val/ of {path}"),
        lambda: {
            path.name: sha256_of(path if path.is_file() else path / "val/val_annotations.txt")
        },
        channels=3,
    )


def _open(folder: Path) -> tuple[Path, list[str], _Read]:
    """Return where the data set is, its files by name, and how to read one of them."""
    path = folder / ARCHIVE
    if not path.is_file():
        root = folder / ROOT if (folder / ROOT).is_dir() else folder
        return (
            root,
            [p.relative_to(root).as_posix() for p in visible_files(root / "train")],
            lambda name: read_bytes(root / name),
        )
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged ({error}): fetch it again") from error
    inside = [
        name.removeprefix(f"{ROOT}/")
        for name in sorted(archive.namelist())
        if name[-1] != "/" and is_visible(PurePosixPath(name).name)
    ]

    def read(name: str) -> bytes:
        try:
            if (size := archive.getinfo(f"{ROOT}/{name}").file_size) > _LARGEST_MEMBER:
                raise UserError(
                    f"{name} in {path} has {size:,} bytes, too many for an image of this data "
                    "set; download the file again"
                )
            return archive.read(f"{ROOT}/{name}")
        except (KeyError, OSError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
            raise UserError(f"{name} in {path} is damaged ({error}); download it again") from error

    return path, inside, read


def _text(read: _Read, name: str) -> list[str]:
    return read(name).decode(errors="replace").splitlines()


def _split(read: _Read, labelled: list[tuple[str, int]], where: str) -> RawSplit:
    def read_images(rows: np.ndarray) -> Iterator[RawImage]:
        for row in rows.tolist():
            file = labelled[row][0]
            yield decode_image(read(file), f"{file} ({where})")

    return RawSplit(np.array([label for _, label in labelled], np.int64), read_images, where)


def _distinct(names: list[str], wordnet_ids: list[str]) -> tuple[str, ...]:
    """Add the WordNet id to names that two classes share, such as the two cranes."""
    return tuple(
        f"{name} {wordnet_id}" if names.count(name) > 1 else name
        for name, wordnet_id in zip(names, wordnet_ids, strict=True)
    )

"""Import published `.npz` samples into a store, shuffled over classes."""

import math
import re
import shutil
from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path, PurePosixPath

import numpy as np

from pyrobust.data.npz import npz_blocks, npz_image_shape, npz_labels
from pyrobust.data.permutation import permute
from pyrobust.data.raw import CLASSES_FILE, read_class_names
from pyrobust.data.shuffling import Read, ShuffledRows, block_of_shards
from pyrobust.data.store import ImageShape, SampleStore, StoreWriter, check_labels
from pyrobust.errors import UserError
from pyrobust.files import sha256_of
from pyrobust.progress import counting
from pyrobust.room import check_room

SUMS_FILE = "SHA256SUMS"
_GNU_LINE = re.compile(r"\\?(?P<value>[0-9a-fA-F]{64}) [ *](?P<name>.+?)\r?")
_BSD_LINE = re.compile(r"SHA256 \((?P<name>.+)\) = (?P<value>[0-9a-fA-F]{64})\r?")


def import_npz(
    files: list[Path],
    image_shape: ImageShape,
    class_names: tuple[str, ...],
    output: Path,
    seed: int,
    made_by: str,
) -> SampleStore:
    """Write the images of all files, in a seeded order, as one labelled store.

    A compressed file can only be read from its start, so that images are sorted into blocks as they
    come (`blocks/`, removed as it goes); labels alone, 2 bytes each, are held whole. A killed run
    resumes.

    Args:
        image_shape, class_names: of the data set that the samples are for.

    Where the folder of a file has a `classes.txt`, its names must be those of the data set in their
    order; where it has `SHA256SUMS`, as `sha256sum` writes it, each file must be as it says.

    Raises:
        UserError: a file is damaged or is not the one that was published, or its images, labels or
            classes are not those of the data set.
    """
    for folder in {file.parent for file in files}:
        _check_classes(folder / CLASSES_FILE, class_names)
    for file in files:
        if (found := npz_image_shape(file)[1]) != image_shape:
            raise UserError(
                f"{file} has images of shape {found}, but the data set has {image_shape}"
            )
    labels = np.concatenate([_labels_of(file, len(class_names)) for file in files])
    provenance = {"files": {file.name: _checked_hash(file) for file in files}, "seed": seed}
    total = len(labels)
    # Blocks and the store, which grows as they shrink.
    check_room(output, 2 * total * math.prod(image_shape), f"shuffling {total:,} images")
    writer = StoreWriter(output, image_shape, class_names, total, provenance, made_by)
    shuffled = ShuffledRows(
        output / "blocks",
        _in_order(files, image_shape),
        image_shape,
        total,
        seed,
        block_of_shards(writer.shard_size, math.prod(image_shape)),
        provenance,
    )
    if writer.count < total:
        shuffled.distribute(writer.count)
    with counting(total, "shuffle", "images", done=writer.count) as advance:
        while (first := writer.count) < total:
            images = shuffled.take(first)
            rows = permute(np.arange(first, first + len(images)), total, seed)
            writer.append(images, labels[rows])
            advance(len(rows))
            del images  # or it stays until the next block is there
    writer.finish()
    shutil.rmtree(output / "blocks", ignore_errors=True)
    return SampleStore.open(output)


def _check_classes(file: Path, class_names: tuple[str, ...]) -> None:
    """Refuse labels that number other classes, or the same in another order."""
    if not file.is_file():
        return
    theirs = read_class_names(file)
    for number, (found, expected) in enumerate(zip_longest(theirs, class_names)):
        if found != expected:
            raise UserError(
                f"class {number} of {file} is {found}, but {expected} in the data set; renumber "
                "the labels of the files in the data set's order"
            )


def _checked_hash(file: Path) -> str:
    """Return the SHA-256 of a file, which is the one that was published if that is known.

    Raises:
        UserError: the file is not listed in `SHA256SUMS`, or differs.
    """
    found, sums = sha256_of(file), file.parent / SUMS_FILE
    if not sums.is_file():
        return found
    published = _published_sums(sums, file.name)
    if not published:
        raise UserError(f"{file} is not listed in {sums}; add its line, or remove the file")
    if found not in published:
        raise UserError(
            f"{file} has SHA-256 {found}, but {sums} lists {' or '.join(sorted(published))}; "
            "download the file again"
        )
    return found


def _published_sums(sums: Path, name: str) -> set[str]:
    """Return the SHA-256 that `sha256sum` or `shasum --tag` wrote for a file of this name.

    The name may have any folder in front, such as ./ as `sha256sum ./*.npz` writes; a line for
    the folder of `sums` itself comes before those of others.
    """
    found: dict[PurePosixPath, str] = {}
    for line in sums.read_text(encoding="utf-8", errors="replace").splitlines():
        match = _GNU_LINE.fullmatch(line) or _BSD_LINE.fullmatch(line)
        if match and PurePosixPath(match["name"]).name == name:
            found[PurePosixPath(match["name"])] = match["value"].lower()
    here = found.get(PurePosixPath(name))
    return {here} if here else set(found.values())


def _labels_of(file: Path, num_classes: int) -> np.ndarray:
    labels = npz_labels(file)
    check_labels(labels, num_classes, f"the labels of {file}")
    return labels.astype(np.uint16)


def _in_order(files: Sequence[Path], image_shape: ImageShape) -> Read:
    """Return what reads the images of all files, (n, H, W, C), once and in order."""
    blocks = chain.from_iterable(map(npz_blocks, files))
    block, start = np.empty((0, *image_shape), np.uint8), 0  # and the row of its first image

    def read(rows: np.ndarray) -> np.ndarray:
        nonlocal block, start
        pieces = []
        while start + len(block) <= rows[-1]:
            pieces.append(block[max(0, rows[0] - start) :])
            block, start = next(blocks), start + len(block)
        pieces.append(block[max(0, rows[0] - start) : rows[-1] + 1 - start])
        return np.concatenate(pieces)

    return read

"""Published `.npz` samples to a store that is shuffled over classes."""

import math
import shutil
from itertools import zip_longest
from pathlib import Path

import numpy as np

from pyrobust.data.class_names import CLASSES_FILE, read_class_names
from pyrobust.data.npz import npz_blocks, npz_image_shape, npz_labels
from pyrobust.data.permutation import permute
from pyrobust.data.store import ImageShape, SampleStore, StoreWriter, check_labels
from pyrobust.errors import UserError
from pyrobust.files import sha256_of
from pyrobust.progress import counting

SUMS_FILE = "SHA256SUMS"

# Bytes of images that are gathered at a time. Each block touches almost every shard.
_BLOCK_BYTES = 1 << 26


def import_npz(
    files: list[Path],
    image_shape: ImageShape,
    class_names: tuple[str, ...],
    output: Path,
    seed: int,
    made_by: str,
) -> SampleStore:
    """Write the images of all files, in a seeded order, as one labelled store.

    A compressed file can only be read from its start, so that images are first copied in order,
    and gathered from there; neither step holds more than a shard. A killed run goes on.

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
            raise UserError(f"{file} has images of {found}, expected {image_shape}")
    labels = np.concatenate([_labels_of(file, len(class_names)) for file in files])
    provenance = {"files": {file.name: _checked_hash(file) for file in files}, "seed": seed}
    ordered = _copy_in_order(
        files, image_shape, class_names, output / "ordered", labels, provenance, made_by
    )
    total = len(labels)
    writer = StoreWriter(output, image_shape, class_names, total, provenance, made_by)
    block = max(1, _BLOCK_BYTES // math.prod(image_shape))
    with counting(total, "shuffle", "images", done=writer.count) as advance:
        while (first := writer.count) < total:
            rows = permute(np.arange(first, min(first + block, total)), total, seed)
            writer.append(ordered.gather(rows), labels[rows])
            advance(len(rows))
    writer.finish()
    shutil.rmtree(output / "ordered")
    return SampleStore.open(output)


def _check_classes(file: Path, class_names: tuple[str, ...]) -> None:
    """Refuse labels that number other classes, or the same in another order."""
    if not file.is_file():
        return
    theirs = read_class_names(file)
    for number, (found, expected) in enumerate(zip_longest(theirs, class_names)):
        if found != expected:
            raise UserError(
                f"class {number} of {file} is {found}, expected {expected} as in the data set: "
                "number the labels of the files in its order"
            )


def _checked_hash(file: Path) -> str:
    """Return the SHA-256 of a file, which is the one that was published if that is known."""
    found, sums = sha256_of(file), file.parent / SUMS_FILE
    if sums.is_file():
        lines = [line.split(maxsplit=1) for line in sums.read_text(encoding="utf-8").splitlines()]
        published = {name.lstrip("*"): value for value, name in (x for x in lines if len(x) == 2)}
        expected = published.get(file.name)
        if expected is None or expected.lower() != found:
            raise UserError(
                f"{file} has the SHA-256 {found}, expected {expected} as in {sums}: get it again"
            )
    return found


def _labels_of(file: Path, num_classes: int) -> np.ndarray:
    labels = npz_labels(file)
    check_labels(labels, num_classes, f"the labels of {file}")
    return labels.astype(np.uint16)


def _copy_in_order(
    files: list[Path],
    image_shape: ImageShape,
    class_names: tuple[str, ...],
    output: Path,
    labels: np.ndarray,
    provenance: dict[str, object],
    made_by: str,
) -> SampleStore:
    writer = StoreWriter(
        output, image_shape, class_names, len(labels), provenance, made_by, labelled=False
    )
    done, first = writer.count, 0
    with counting(len(labels), "import", "images", done=done) as advance:
        for file in files:
            for images in npz_blocks(file):
                first += len(images)
                if first > done:
                    missing = images[-(first - done) :] if first - done < len(images) else images
                    writer.append(missing)
                    advance(len(missing))
    writer.finish()
    return SampleStore.open(output)

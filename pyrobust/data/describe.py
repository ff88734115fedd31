"""What a folder holds, in lines that a person can read, and whether its bytes are unchanged."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pyrobust.data.dataset import DATASET, SPLITS, Dataset
from pyrobust.data.labels import LABELS, LabelStore
from pyrobust.data.store import MANIFEST, SampleStore
from pyrobust.errors import UserError
from pyrobust.files import read_json, sha256_of

# JSON files of other stages: the file with the weights beside, and the key of its hash.
_WEIGHTS = {
    "generator.json": ("weights.safetensors", "weights_sha256", "pyrobust fit-generator"),
}

_VERIFIED = "every file matches its SHA-256"


def describe(path: Path, verify: bool) -> Iterator[str]:
    """Yield one line a fact about the folder `path`.

    Args:
        verify: whether every file is compared with its hash as well.

    Raises:
        UserError: nothing there is known, or a file is damaged; the message names it.
    """
    path = path.parent if path.is_file() else path
    if (path / DATASET).is_file():
        yield from _describe_dataset(Dataset.open(path), verify)
    elif (path / MANIFEST).is_file():
        yield from _describe_store(SampleStore.open(path), verify)
    elif (path / LABELS).is_file():
        yield from _describe_labels(LabelStore.open(path), verify)
    else:
        yield from _describe_weights(path, verify)


def _describe_dataset(dataset: Dataset, verify: bool) -> Iterator[str]:
    yield f"data set {dataset.name}: {_classes(dataset.class_names)}"
    yield f"images: {_shape(dataset.image_shape)}, uint8"
    yield f"mean {_numbers(dataset.mean)}, std {_numbers(dataset.std)} of the training pixels"
    yield f"training: crop padding {dataset.crop_padding}, {'' if dataset.flip else 'no '}flip"
    for split in SPLITS:
        store: SampleStore = getattr(dataset, split)
        if verify:
            store.verify()
        yield f"{split}: {store.count:,} images ({_counts(store.labels(), store.class_names)})"
    if verify:
        yield _VERIFIED


def _describe_store(store: SampleStore, verify: bool) -> Iterator[str]:
    if verify:
        store.verify()
    yield f"sample store: {store.count:,} images of {_shape(store.image_shape)}, uint8"
    yield f"ids: {store.first_id} to {store.first_id + store.count - 1}"
    yield f"classes: {_classes(store.class_names)}"
    if store.labelled:
        yield f"labels: {_counts(store.labels(), store.class_names)}"
    if (scores := store.scores()) is not None:
        yield f"scores: mean {scores.mean(dtype=np.float64):.4f}, least {scores.min():.4f}"
    for key, value in store.provenance.items():
        yield f"{key}: {value}"
    if verify:
        yield _VERIFIED


def _describe_labels(labels: LabelStore, verify: bool) -> Iterator[str]:
    if verify:
        labels.verify()
    yield f"pseudo-labels of {labels.count:,} samples from id {labels.first_id} on"
    yield f"labels: {_counts(labels.labels(), labels.class_names)}"
    yield f"scores: mean {labels.scores().mean(dtype=np.float64):.4f}"
    if verify:
        yield _VERIFIED


def _describe_weights(path: Path, verify: bool) -> Iterator[str]:
    for name, (weights, key, made_by) in _WEIGHTS.items():
        if not (path / name).is_file():
            continue
        facts = read_json(path / name, made_by)
        for fact, value in facts.items():
            yield f"{fact}: {value}"
        if verify:
            if sha256_of(path / weights) != facts[key]:
                raise UserError(
                    f"{path / weights} does not match its SHA-256, a byte of it was changed: "
                    f"'{made_by}' run again rewrites it"
                )
            yield _VERIFIED
        return
    known = ", ".join((DATASET, MANIFEST, LABELS, *_WEIGHTS))
    raise UserError(f"{path} holds none of {known}: nothing is known about it")


def _classes(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    return f"{len(names)} classes ({shown})"


def _counts(labels: np.ndarray, names: tuple[str, ...]) -> str:
    counts = np.bincount(labels, minlength=len(names))
    if counts.min() == counts.max():
        return f"{counts[0]:,} of each class"
    least, most = int(counts.argmin()), int(counts.argmax())
    return f"{counts[least]:,} {names[least]} to {counts[most]:,} {names[most]}"


def _shape(shape: tuple[int, int, int]) -> str:
    return "×".join(str(size) for size in shape)


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:.4f}" for value in values) + ")"

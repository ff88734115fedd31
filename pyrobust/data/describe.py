"""Describe a folder in readable lines, and verify its files."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from pyrobust.data.dataset import DATASET, SPLITS, Dataset
from pyrobust.data.distances import DISTANCES, DistanceStore
from pyrobust.data.feature_set import FEATURES, FeatureSet
from pyrobust.data.labels import LABELS, LabelStore
from pyrobust.data.store import MANIFEST, SampleStore
from pyrobust.errors import UserError
from pyrobust.files import described_by, read_json, sha256_of
from pyrobust.models.files import WEIGHTS

Part = SampleStore | LabelStore | DistanceStore | FeatureSet


def _facts_of_store(store: SampleStore) -> Iterator[str]:
    yield f"sample store: {store.count:,} images of {_shape(store.image_shape)}, uint8"
    last_id = store.first_id + store.count - 1
    yield f"ids: {'one with each image' if store.identified else f'{store.first_id} to {last_id}'}"
    yield f"classes: {_classes(store.class_names)}"
    if store.labelled:
        yield f"labels: {_counts(store.labels(), store.class_names)}"
    if (scores := store.scores()) is not None:
        yield f"scores: mean {scores.mean(dtype=np.float64):.4f}, least {scores.min():.4f}"
    yield from _lines(store.provenance)


def _facts_of_labels(labels: LabelStore) -> Iterator[str]:
    yield f"pseudo-labels of {labels.count:,} samples from id {labels.first_id} on"
    yield f"labels: {_counts(labels.labels(), labels.class_names)}"
    yield f"scores: mean {labels.scores().mean(dtype=np.float64):.4f}"


def _facts_of_distances(store: DistanceStore) -> Iterator[str]:
    yield f"distances to training images of {store.count:,} samples from id {store.first_id} on"
    least, median = np.quantile(store.distances(), [0, 0.5])
    yield f"distances: least {least:.4f}, median {median:.4f}"
    yield from _lines(store.provenance)


def _facts_of_features(features: FeatureSet) -> Iterator[str]:
    yield f"features of {features.count:,} images: {features.dimensions:,} values, {features.dtype}"
    yield f"logits: {features.num_logits or 'none'}"
    yield f"classes: {_classes(features.class_names)}"
    yield from _lines(features.extractor, "extractor ")


class _Kind(NamedTuple):
    plural: str
    open: Callable[[Path], Part]
    facts: Callable[[Any], Iterator[str]]


# What a folder or a part may be, by the file that is written last.
_KINDS: dict[str, _Kind] = {
    MANIFEST: _Kind("sample stores", SampleStore.open, _facts_of_store),
    LABELS: _Kind("pseudo-labels", LabelStore.open, _facts_of_labels),
    DISTANCES: _Kind("distances to training images", DistanceStore.open, _facts_of_distances),
    FEATURES: _Kind("features", FeatureSet.open, _facts_of_features),
}


def kind_of_parts(folder: Path) -> str | None:
    """Return the index file of the numbered parts in `folder`; None if there are none."""
    return next((index for index in _KINDS if any(folder.glob(f"[0-9]*/{index}"))), None)


def describe_parts(folder: Path, index: str, verify: bool) -> Iterator[str]:
    """Yield one line per fact about all parts.

    Args:
        index: what `kind_of_parts` returned.
        verify: also compare every file of every part with its hash.

    Raises:
        UserError: a part is damaged, or was made from other inputs than the first one.
    """
    what, open_part, _ = _KINDS[index]
    numbers = sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())
    finished = [number for number in numbers if (folder / str(number) / index).is_file()]
    first = open_part(folder / str(finished[0]))
    count, ranges = 0, []
    for number in finished:
        part = open_part(folder / str(number))
        if _made_of(part) != _made_of(first):
            raise UserError(
                f"{part.path} was made from {_made_of(part)}, but {first.path} from "
                f"{_made_of(first)}; delete one of them and run its rule or command again"
            )
        if verify:
            part.verify()
        count += part.count
        ranges.append(range(_first_id(part), _first_id(part) + part.count))
    yield f"{len(finished):,} parts: {what} of {count:,} images"
    yield "ids: " + ", ".join(f"{run.start} to {run.stop - 1}" for run in _joined(ranges))
    if unfinished := sorted(set(numbers) - set(finished)):
        yield f"not finished (no {index}): {', '.join(map(str, unfinished))}"
    yield from _lines(_made_of(first))
    if verify:
        yield "every file of every part matches its SHA-256"


def _made_of(part: Part) -> dict[str, Any]:
    """Return what all parts have in common."""
    if isinstance(part, FeatureSet):
        return part.extractor
    return {key: value for key, value in part.provenance.items() if key != "samples_sha256"}


def _first_id(part: Part) -> int:
    return int(part.part.get("first_id", 0)) if isinstance(part, FeatureSet) else part.first_id


def _joined(ranges: list[range]) -> list[range]:
    """Return ascending ranges, those that follow one another as one."""
    runs: list[range] = []
    for some in sorted(ranges, key=lambda one: one.start):
        if runs and runs[-1].stop == some.start:
            runs[-1] = range(runs[-1].start, some.stop)
        else:
            runs.append(some)
    return runs


GENERATOR = "generator.json"

_VERIFIED = "every file matches its SHA-256"


def describe(path: Path, verify: bool) -> Iterator[str]:
    """Yield one line per fact about the folder `path`.

    Args:
        verify: also compare every file with its hash.

    Raises:
        UserError: the folder is of no known kind, or a file is damaged.
    """
    path = path.parent if path.is_file() else path
    if (path / DATASET).is_file():
        yield from _describe_dataset(Dataset.open(path), verify)
    elif index := next((name for name in _KINDS if (path / name).is_file()), None):
        yield from _describe_part(path, _KINDS[index], verify)
    elif (path / GENERATOR).is_file():
        yield from _describe_generator(path, verify)
    elif (path / WEIGHTS).is_file():
        yield from _describe_model(path / WEIGHTS, verify)
    elif index := kind_of_parts(path):
        yield from describe_parts(path, index, verify)
    else:
        known = ", ".join((DATASET, *_KINDS, GENERATOR, WEIGHTS))
        raise UserError(
            f"{path} contains none of {known} and no numbered parts; is this a folder that "
            "pyrobust wrote?"
        )


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


def _describe_part(path: Path, kind: _Kind, verify: bool) -> Iterator[str]:
    part = kind.open(path)
    if verify:
        part.verify()
    yield from kind.facts(part)
    if verify:
        yield _VERIFIED


def _describe_generator(path: Path, verify: bool) -> Iterator[str]:
    made_by = "pyrobust fit-generator"
    facts = read_json(path / GENERATOR, made_by)
    with described_by(path / GENERATOR, made_by):
        yield f"generator of type {facts['settings']['type']}, fitted on {facts['dataset']}"
        yield f"classes: {_classes(tuple(facts['class_names']))}"
        yield from _lines(facts["settings"])
    if verify and (path / "samples").is_dir():
        yield from _describe_part(path / "samples", _KINDS[MANIFEST], verify)
    elif verify:
        weights = path / "weights.safetensors"
        if not weights.is_file() or sha256_of(weights) != facts["weights_sha256"]:
            raise UserError(
                f"{weights} is missing or does not match its SHA-256; run '{made_by}' again to "
                "rewrite it"
            )
        yield _VERIFIED


def _describe_model(path: Path, verify: bool) -> Iterator[str]:
    try:
        with safe_open(path, framework="numpy") as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
            metadata = json.loads((file.metadata() or {}).get("pyrobust", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is not a complete safetensors file ({error})") from error
    yield f"model: {sum(math.prod(shape) for shape in shapes):,} numbers in {len(shapes)} tensors"
    with described_by(path, "pyrobust train"):
        yield from _lines(metadata.get("spec", {}))
    if verify:
        yield f"SHA-256: {sha256_of(path)} (no other file holds it to compare with)"


def _lines(facts: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    return (f"{prefix}{key}: {value}" for key, value in facts.items())


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

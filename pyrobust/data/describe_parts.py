"""What the parts of a set of samples hold together, each of which another job wrote."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pyrobust.data.distances import DISTANCES, DistanceStore
from pyrobust.data.feature_set import FEATURES, FeatureSet
from pyrobust.data.labels import LABELS, LabelStore
from pyrobust.data.store import MANIFEST, SampleStore
from pyrobust.errors import UserError

Part = SampleStore | LabelStore | DistanceStore | FeatureSet

# What a part may be: the file that is written last -> (in the plural, what opens it).
_KINDS: dict[str, tuple[str, Callable[[Path], Part]]] = {
    MANIFEST: ("sample stores", SampleStore.open),
    LABELS: ("pseudo-labels", LabelStore.open),
    DISTANCES: ("distances to training images", DistanceStore.open),
    FEATURES: ("features", FeatureSet.open),
}


def kind_of_parts(folder: Path) -> str | None:
    """Return the file that a part ends with, or None where `folder` holds no numbered parts."""
    return next((index for index in _KINDS if any(folder.glob(f"[0-9]*/{index}"))), None)


def describe_parts(folder: Path, index: str, verify: bool) -> Iterator[str]:
    """Yield one line a fact about all parts together.

    Args:
        index: what `kind_of_parts` returned.
        verify: whether every file of every part is compared with its hash as well.

    Raises:
        UserError: a part is damaged, or not of one making with the first; the message names it.
    """
    what, open_part = _KINDS[index]
    numbers = sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())
    finished = [number for number in numbers if (folder / str(number) / index).is_file()]
    first = open_part(folder / str(finished[0]))
    count, ranges = 0, []
    for number in finished:
        part = open_part(folder / str(number))
        if _made_of(part) != _made_of(first):
            raise UserError(
                f"{part.path} is made of {_made_of(part)}, expected {_made_of(first)} as "
                f"{first.path}: remove one of them, and its rule or verb writes it anew"
            )
        if verify:
            part.verify()
        count += part.count
        ranges.append(range(_first_id(part), _first_id(part) + part.count))
    yield f"{len(finished):,} parts: {what} of {count:,} images"
    yield "ids: " + ", ".join(f"{run.start} to {run.stop - 1}" for run in _joined(ranges))
    if unfinished := sorted(set(numbers) - set(finished)):
        yield f"not finished (no {index}): {', '.join(map(str, unfinished))}"
    for key, value in _made_of(first).items():
        yield f"{key}: {value}"
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

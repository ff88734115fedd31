"""Mix two stores of generated images: a mixture of two distributions (section 6.1)."""

import time
from pathlib import Path

import numpy as np

from pyrobust.cost import write_cost
from pyrobust.data.permutation import permute
from pyrobust.data.store import SampleStore, StoreWriter
from pyrobust.errors import UserError
from pyrobust.progress import counting

MADE_BY = "pyrobust mix"

# Images that are gathered at a time.
_BLOCK = 4096


def mix_stores(
    first: Path,
    second: Path,
    share: float,
    classes: int | None,
    num_samples: int,
    output: Path,
    seed: int,
) -> None:
    """Write a store of `num_samples` images of both stores, shuffled; an interrupted run resumes.

    Args:
        share: of the second store's images in the result; they are its first ones.
        classes: take images of the second store from the classes 0 to classes - 1 alone, which
            is how Figure 4c raises coverage; None takes all classes.

    Raises:
        UserError: the stores do not fit together, or one has too few images.
    """
    started = time.monotonic()
    stores = [SampleStore.open(first), SampleStore.open(second)]
    stores[1].check_fits(stores[0], "mix only samples for the same data set")
    labels = [store.labels() for store in stores]
    allowed = np.ones(stores[1].count, bool) if classes is None else labels[1] < classes
    counts = _counts(num_samples, share, bool(allowed.any()))
    rows = [
        _first_rows(stores[0], np.ones(stores[0].count, bool), counts[0]),
        _first_rows(stores[1], allowed, counts[1]),
    ]
    source = np.repeat([0, 1], counts)
    rows_of_both = np.concatenate(rows)
    provenance = {
        "first": stores[0].sha256,
        "second": stores[1].sha256,
        "share": share,
        "classes": classes,
        "seed": seed,
        "counts": list(counts),
    }
    writer = StoreWriter(
        output, stores[0].image_shape, stores[0].class_names, num_samples, provenance, MADE_BY
    )
    done = writer.count
    with counting(num_samples, "mix", "images", done=done) as advance:
        while (place := writer.count) < num_samples:
            places = np.arange(place, min(place + _BLOCK, num_samples))
            chosen = permute(places, num_samples, seed)
            images = np.empty((len(chosen), *stores[0].image_shape), np.uint8)
            classes_of = np.empty(len(chosen), np.int64)
            for number, store in enumerate(stores):
                own = source[chosen] == number
                images[own] = store.gather(rows_of_both[chosen[own]])
                classes_of[own] = labels[number][rows_of_both[chosen[own]]]
            writer.append(images, classes_of)
            advance(len(chosen))
    writer.finish()
    if done < num_samples:
        seconds = time.monotonic() - started
        write_cost(output / "cost.json", seconds, "cpu", (num_samples - done) / seconds)


def _counts(num_samples: int, share: float, any_allowed: bool) -> tuple[int, int]:
    """Return how many images come from each store; all from the first where no class is allowed."""
    of_second = round(num_samples * share) if any_allowed else 0
    return num_samples - of_second, of_second


def _first_rows(store: SampleStore, allowed: np.ndarray, count: int) -> np.ndarray:
    rows = np.flatnonzero(allowed)
    if len(rows) < count:
        raise UserError(
            f"{store.path} has only {len(rows):,} suitable images, but {count:,} are needed; "
            f"run '{store.made_by}' with a larger number of samples"
        )
    return rows[:count]

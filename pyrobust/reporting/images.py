"""Images on the page: strips, samples by class, nearest neighbours."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.lib
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from pyrobust.data.store import SampleStore, label_type
from pyrobust.errors import UserError
from pyrobust.reporting.downloads import data_uri

# Pixels between two images of a strip.
_GAP = 1


def strip(images: NDArray[np.uint8]) -> str:
    """Return images side by side as the address of one PNG.

    Args:
        images: (N, H, W, C), C is 1 or 3.
    """
    count, height, width = images.shape[:3]
    canvas = np.zeros((height, count * (width + _GAP) - _GAP, 4), dtype=np.uint8)
    for index, image in enumerate(images):
        left = index * (width + _GAP)
        canvas[:, left : left + width, :3] = np.broadcast_to(image, (height, width, 3))
        canvas[:, left : left + width, 3] = 255
    buffer = BytesIO()
    Image.fromarray(canvas, "RGBA").save(buffer, format="PNG", optimize=True)
    return data_uri(buffer.getvalue(), "image/png")


PER_CLASS = 10
MAX_CLASSES = 10
NUM_NEIGHBOURS = 10

_COLUMNS = ("index", "train", "train_distance")


def class_grid(original: SampleStore, generated: SampleStore | None) -> list[dict[str, Any]]:
    """Return, for each of the first classes, a strip of originals and one of generated images.

    The images are the first of each class in the shuffled stores, so they are not hand-picked.
    """
    rows = []
    kind = label_type(len(original.class_names))
    labels = original.labels(kind)
    pseudo_labels = None if generated is None else generated.labels(kind)
    for label, name in enumerate(original.class_names[:MAX_CLASSES]):
        row = {"name": name, "original": _of_class(original, labels, label), "generated": None}
        if generated is not None and pseudo_labels is not None:
            row["generated"] = _of_class(generated, pseudo_labels, label)
        rows.append(row)
    return rows


def _of_class(store: SampleStore, labels: NDArray[Any], label: int) -> dict[str, Any] | None:
    index = np.flatnonzero(labels == label)[:PER_CLASS]
    return None if index.size == 0 else _strip(store, index)


def _strip(store: SampleStore, index: NDArray[np.int64]) -> dict[str, Any]:
    height, width, _ = store.image_shape
    return {
        "uri": strip(store.gather(index)),
        "count": len(index),
        "width": len(index) * (width + 1) - 1,
        "height": height,
    }


def nearest_originals(
    neighbours: Path, original: SampleStore, generated: SampleStore
) -> list[dict[str, Any]]:
    """Return generated images above their nearest training images: random ones, then the closest.

    Args:
        neighbours: the file `neighbours.parquet`.

    Raises:
        UserError: the file is missing or unreadable.
    """
    return [
        {
            "name": name,
            "generated": _strip(generated, index),
            "original": _strip(original, train),
            "distances": distance.tolist(),
        }
        for name, (index, train, distance) in _drawn_and_closest(neighbours).items()
    ]


def _drawn_and_closest(neighbours: Path) -> dict[str, list[NDArray[Any]]]:
    """Return index, train and train_distance of some rows of the table, by how they were chosen.

    It is read piece by piece, since it may have 100M rows, and of each piece stay those alone that
    may be shown.
    """
    try:
        with pq.ParquetFile(neighbours) as file:
            total = file.metadata.num_rows
            count = min(NUM_NEIGHBOURS, total)
            random = np.random.default_rng(0).choice(total, count, replace=False)
            pieces, first = [], 0
            for batch in file.iter_batches(columns=list(_COLUMNS)):
                there = batch["train"].is_valid()  # an approximate search may find none
                columns = [batch[name].filter(there).to_numpy() for name in _COLUMNS]
                row = first + np.flatnonzero(there.to_numpy(zero_copy_only=False))
                closest = np.argsort(columns[-1], kind="stable")[:count]
                some = np.union1d(closest, np.flatnonzero(np.isin(row, random)))
                pieces.append([values[some] for values in (row, *columns)])
                first += len(batch)
    except (OSError, KeyError, pyarrow.lib.ArrowException) as error:
        raise UserError(
            f"cannot read {neighbours} ({error}); run 'pyrobust neighbours' to rewrite it"
        ) from error
    row, *columns = (np.concatenate(values) for values in zip(*pieces, strict=True))
    closest = np.argsort(columns[-1], kind="stable")[:count]
    drawn = np.searchsorted(row, random[np.isin(random, row)])
    chosen = {"Drawn at random": drawn, "Closest of all": closest}
    return {name: [values[here] for values in columns] for name, here in chosen.items()}

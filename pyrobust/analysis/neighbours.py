"""The neighbours stage: feature sets to complementarity, coverage and a table of neighbours."""

import hashlib
import itertools
import logging
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from pyrobust.analysis.candidates import Neighbours, exhaustive, inverted_lists, uses_gpu
from pyrobust.analysis.complementarity_and_coverage import (
    ORIGINAL_SETS,
    SETS,
    SetNeighbours,
    complementarity,
    coverage,
    find_neighbours,
    per_class,
    what_of,
)
from pyrobust.analysis.exact_search import nearest_neighbours, nearest_others, shared_queries
from pyrobust.analysis.image_subsets import balanced_subset, stratified_subset
from pyrobust.analysis.pca import FeatureRows, Pca, fit_pca, one_blas_thread
from pyrobust.analysis.search_state import SearchStates
from pyrobust.config.analysis import NeighbourSettings
from pyrobust.cost import write_cost
from pyrobust.data.feature_set import FEATURES, FeatureSet, Rows, check_same_space
from pyrobust.data.selection import class_counts
from pyrobust.data.store import label_type
from pyrobust.errors import UserError
from pyrobust.files import atomic_path, sha256_of, write_json
from pyrobust.shares import Share

logger = logging.getLogger(__name__)

# Folder of the state, inside that of the results, which the quality stage writes to as well.
STATE = "search"


class ScratchRows:
    """Rows that need no memory but for the piece that is read; the file goes with the object.

    Read with plain reads: the pages of a memory map would count as resident.

    Args:
        blocks: (n, width) float32 each, in order.
        folder: where the file is made; it has no name there and cannot be left behind.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """

    def __init__(self, blocks: Iterable[np.ndarray], width: int, folder: Path) -> None:
        count = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = TemporaryFile(dir=folder)  # noqa: SIM115
            for block in blocks:
                np.ascontiguousarray(block, np.float32).tofile(self._file)
                count += len(block)
        except OSError as error:
            raise UserError(f"cannot write a temporary file in {folder}: {error}") from error
        self.shape = (count, width)

    def __getitem__(self, piece: slice) -> np.ndarray:
        """Return rows in order, (n, width) float32."""
        first, last, _ = piece.indices(self.shape[0])
        width = self.shape[1]
        self._file.seek(4 * width * first)
        values = np.fromfile(self._file, np.float32, max(0, last - first) * width)
        return values.reshape(-1, width)


# Samples that an approximate search is compared with an exact one on.
NUM_CHECKED = 1000
# Rows of the table that are written together; Arrow holds a hundred bytes of each.
_BLOCK = 1 << 20


def measure_neighbours(
    sets: Mapping[str, FeatureSet],
    output: Path,
    settings: NeighbourSettings,
    memory_bytes: int,
    share: Share | None = None,
) -> None:
    """Write `neighbours.parquet`, a row a generated sample, and `neighbours.json`.

    The search among the samples, by far the longest, resumes from `output`/search, which is
    removed at the end.

    Args:
        sets: the features of "train", "test" and "self" (the generated images).
        memory_bytes: bound on what the search holds at once, apart from 65 bytes a sample: its
            nearest image in each set with the distance, its own number and row, and its label.
        share: search among the samples for this share of them only, and keep what it finds; a run
            without a share searches for the rest and writes the results.

    Raises:
        UserError: the sets do not fit together, have no labels, or lack a class.
    """
    started = time.monotonic()
    check_same_space(*sets.values())
    labels = {
        name: features.labels(label_type(len(features.class_names)))
        for name, features in sets.items()
    }
    rows = _draw(sets, labels, settings)
    labels = {name: labels[name][rows[name]] for name in SETS}
    pca, points = _project(
        sets, rows, output / STATE, settings, SETS if share is None else ("self",)
    )
    store_rows = {name: sets[name].store_rows()[rows[name]] for name in SETS}
    del rows  # 8 bytes a sample, which may be 100M
    proposer = inverted_lists(settings.probes) if settings.approximate else exhaustive()
    count, dimensions = points["self"].shape
    states = SearchStates(output / STATE, _identity(sets, settings, memory_bytes, pca))
    if share is None and states.others:
        logger.warning(
            "%d saved searches in %s are not resumed: they belong to other settings, features or "
            "another type of processor",
            len(states.others),
            output / STATE,
        )
    before_search = time.monotonic()
    others, seconds = nearest_others(
        points["self"],
        shared_queries(count, dimensions, memory_bytes, proposer, share),
        memory_bytes,
        proposer,
        what_of("self"),
        states,
    )
    if share is not None:
        return
    seconds += before_search - started
    started = time.monotonic()
    found = find_neighbours(
        points["train"], points["test"], points["self"], memory_bytes, proposer, others=others
    )
    _write_table(output / "neighbours.parquet", found, labels["self"], store_rows)
    train_of_test, test_of_train = (
        nearest_neighbours(
            points[queries], points[others], memory_bytes, what=f"{queries}: nearest in {others}"
        )
        for queries, others in (("test", "train"), ("train", "test"))
    )
    summary: dict[str, Any] = {
        "extractor": sets["self"].extractor["name"],
        "extractor_sha256": sets["self"].extractor["weights_sha256"],
        "settings": settings.model_dump(),
        "num_samples": len(labels["self"]),
        "set_sizes": {name: len(labels[name]) for name in SETS},
        "components": len(pca.components),
        "explained_variance": min(1.0, float(pca.explained_variance.sum())),
        "complementarity": complementarity(found.closest),
        "coverage": {
            name: coverage(found.by_set[name], len(labels[name])) for name in ORIGINAL_SETS
        },
        "copies": {name: _copies(found.by_set[name]) for name in SETS},
        "approximate": _checked(found, points, settings, memory_bytes)
        if settings.approximate
        else None,
        "per_class": per_class(found, labels, sets["self"].class_names),
        "reference": {
            "train_covers_test": coverage(test_of_train, len(labels["test"])),
            "test_covers_train": coverage(train_of_test, len(labels["train"])),
        },
    }
    write_json(output / "neighbours.json", summary)
    # Searches of earlier runs and of other jobs also count.
    seconds += time.monotonic() - started
    write_cost(output / "neighbours.cost.json", seconds, "cuda" if uses_gpu() else "cpu")
    shutil.rmtree(output / STATE, ignore_errors=True)  # a network file system keeps a held lock


def _identity(
    sets: Mapping[str, FeatureSet], settings: NeighbourSettings, memory_bytes: int, pca: Pca
) -> str:
    """Return a digest of all that the nearest samples depend on.

    The memory decides the blocks, and they what an approximate search overlooks; the components
    detect machines whose sums round differently.
    """
    blocks = memory_bytes if settings.approximate else None
    digest = hashlib.sha256(f"{settings.model_dump_json()} {blocks}".encode())
    for name in SETS:
        digest.update(sha256_of(sets[name].path / FEATURES).encode())
    digest.update(np.ascontiguousarray(pca.components).tobytes())
    return digest.hexdigest()


def _project(
    sets: Mapping[str, FeatureSet],
    rows: Mapping[str, np.ndarray],
    folder: Path,
    settings: NeighbourSettings,
    projected: Sequence[str],
) -> tuple[Pca, dict[str, ScratchRows]]:
    """Return the components of the original images, and images in temporary files.

    Args:
        projected: the sets that are projected.
    """
    sources = {name: Rows(sets[name], rows[name]) for name in SETS}
    with one_blas_thread():
        originals = [sources[name] for name in ORIGINAL_SETS]
        pca = fit_pca(originals, settings.components, settings.seed)
        return pca, {
            name: ScratchRows(pca.project(sources[name]), len(pca.components), folder)
            for name in projected
        }


def _draw(
    sets: Mapping[str, FeatureSet], labels: Mapping[str, np.ndarray], settings: NeighbourSettings
) -> dict[str, np.ndarray]:
    """Return the rows of each set: as many of each class in each set, or all."""
    if settings.whole_sets:
        return {name: np.arange(sets[name].count) for name in SETS}
    class_names = sets["self"].class_names
    class_size = settings.num_samples // len(class_names)
    if class_size == 0:
        raise UserError(
            f"num_samples is {settings.num_samples}; at least one image for each of the "
            f"{len(class_names)} classes is required"
        )
    for name in SETS:
        counts = class_counts(labels[name], len(class_names))
        if counts.min() == 0:
            raise UserError(
                f"{sets[name].path} has no images of class '{class_names[counts.argmin()]}'; "
                "extract more images with 'pyrobust features --num-images N'"
            )
        class_size = min(class_size, int(counts.min()))
    return {
        name: balanced_subset(labels[name], len(class_names), class_size, settings.seed)
        for name in SETS
    }


def _checked(
    found: SetNeighbours,
    points: Mapping[str, FeatureRows],
    settings: NeighbourSettings,
    memory_bytes: int,
) -> dict[str, Any]:
    """Compare some samples with an exact search: what an inverted file overlooks, and the harm.

    A neighbour in the largest set is overlooked most often, which moves complementarity. Coverage
    is left out: it depends on all samples together, and a subset does not show its bias.
    """
    labels = np.zeros(len(found.closest), np.uint8)
    rows = stratified_subset(labels, NUM_CHECKED, settings.seed)
    some = SetNeighbours({name: found.by_set[name].part(rows) for name in SETS})
    exact = find_neighbours(
        points["train"], points["test"], points["self"], memory_bytes, exhaustive(), rows
    )
    pairs = {name: (some.by_set[name], exact.by_set[name]) for name in SETS}
    shares, exact_shares = complementarity(some.closest), complementarity(exact.closest)
    return {
        "num_checked": len(rows),
        "recall": {
            name: float(np.mean(some_found.index == true.index))
            for name, (some_found, true) in pairs.items()
        },
        "complementarity_bias": {name: shares[name] - exact_shares[name] for name in SETS},
        "copies_bias": {
            name: _copies(some_found) - _copies(true) for name, (some_found, true) in pairs.items()
        },
        "distance_bias": {
            name: _farther(some_found, true) for name, (some_found, true) in pairs.items()
        },
    }


def _copies(neighbours: Neighbours) -> float:
    """Return the share of queries that equal their neighbour."""
    return float(np.mean(neighbours.squared_distance == 0))


def _farther(neighbours: Neighbours, exact: Neighbours) -> float:
    """Return how much farther the neighbours are on average than the exact ones, where any is."""
    there = neighbours.index >= 0
    if not there.any():
        return 0.0
    return float(np.mean(neighbours.distance[there] - exact.distance[there]))


def _write_table(
    path: Path, found: SetNeighbours, labels: np.ndarray, store_rows: Mapping[str, np.ndarray]
) -> None:
    """Write a row for each generated sample; images are named by their row in their store."""
    groups = range(0, len(labels), _BLOCK)
    tables = (_table(slice(i, i + _BLOCK), found, labels, store_rows) for i in groups)
    first = next(tables)
    with atomic_path(path) as temporary, parquet.ParquetWriter(temporary, first.schema) as writer:
        for table in itertools.chain([first], tables):
            writer.write_table(table)


def _table(
    some: slice, found: SetNeighbours, labels: np.ndarray, store_rows: Mapping[str, np.ndarray]
) -> pa.Table:
    """Return some rows of the table."""
    columns: dict[str, Any] = {
        "index": store_rows["self"][some],
        "label": labels[some].astype(np.int64),
        "closest": pa.array(np.array(SETS)[found.closest[some]], pa.string()),
    }
    for name in SETS:
        neighbours = found.by_set[name].part(some)
        missing = neighbours.index < 0  # a single generated sample has no other
        columns[name] = pa.array(store_rows[name][neighbours.index], mask=missing)
        columns[f"{name}_distance"] = pa.array(neighbours.distance, mask=missing)
    return pa.table(columns)

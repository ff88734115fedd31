"""Which generated images the page shows above their nearest training images."""

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pyrobust.data.store import SampleStore, StoreWriter
from pyrobust.errors import UserError
from pyrobust.reporting.images import nearest_originals, strip

ROWS = 500_000
IMAGES = 50


def store(path: Path, shade: int) -> SampleStore:
    """Write images of one pixel each, all of other shades."""
    writer = StoreWriter(path, (1, 1, 1), ("a",), IMAGES, {}, "a test", labelled=False)
    writer.append((shade + np.arange(IMAGES, dtype=np.uint8)).reshape(-1, 1, 1, 1))
    writer.finish()
    return SampleStore.open(path)


def test_a_long_table_is_read_piece_by_piece_and_shows_what_a_sort_of_all_does(
    tmp_path: Path,
) -> None:
    random = np.random.default_rng(1)
    distance = random.integers(3, 9, ROWS) / 4
    distance[[ROWS - 1, 70_000, 400_000]] = 0.5, 0.25, 0.5
    index, train = random.integers(0, IMAGES, (2, ROWS))
    table = pa.table({"index": index, "train": train, "train_distance": distance, "label": index})
    pq.write_table(table, tmp_path / "neighbours.parquet", row_group_size=150_000)
    generated, original = store(tmp_path / "generated", 0), store(tmp_path / "original", 100)
    tracemalloc.start()
    try:
        shown = nearest_originals(tmp_path / "neighbours.parquet", original, generated)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    drawn = np.random.default_rng(0).choice(ROWS, 10, replace=False)
    closest = np.lexsort((np.arange(ROWS), distance))[:10]
    assert closest[:3].tolist() == [70_000, 400_000, ROWS - 1]
    for rows, found in zip((drawn, closest), shown, strict=True):
        assert found["distances"] == distance[rows].tolist()
        assert found["generated"]["uri"] == strip(generated.gather(index[rows]))
        assert found["original"]["uri"] == strip(original.gather(train[rows]))
    assert peak < 6 * ROWS


def test_a_table_of_something_else_is_named(tmp_path: Path) -> None:
    images = store(tmp_path / "images", 0)
    pq.write_table(pa.table({"index": [1, 2]}), tmp_path / "other.parquet")
    with pytest.raises(UserError, match=r"cannot read .*other\.parquet .*train.*'pyrobust neigh"):
        nearest_originals(tmp_path / "other.parquet", images, images)


def test_a_sample_without_a_nearest_image_is_left_out(tmp_path: Path) -> None:
    images, rows = store(tmp_path / "images", 0), np.arange(12)
    drawn = np.random.default_rng(0).choice(12, 10, replace=False)
    missing = np.isin(rows, drawn[:2])
    distance = pa.array(rows / 4, mask=missing)
    table = {"index": rows, "train": pa.array(rows, mask=missing), "train_distance": distance}
    pq.write_table(pa.table(table), tmp_path / "neighbours.parquet")
    random, closest = nearest_originals(tmp_path / "neighbours.parquet", images, images)
    assert random["distances"] == (drawn[2:] / 4).tolist()
    assert closest["distances"] == (rows[~missing] / 4).tolist()

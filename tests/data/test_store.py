"""Sample stores."""

import numpy as np
import pytest

from pyrobust.data.store import SampleStore, StoreWriter
from pyrobust.errors import UserError
from pyrobust.files import read_json, write_json
from tests.memory import peak_bytes

IMAGES = np.arange(5 * 2 * 3 * 1, dtype=np.uint8).reshape(5, 2, 3, 1)
LABELS = np.array([1, 0, 1, 1, 0])
SCORES = np.array([0.5, 0.25, 1.0, 0.75, 0.125])


def writer_of(path, seed=0):
    return StoreWriter(
        path,
        (2, 3, 1),
        ("no", "yes"),
        5,
        {"seed": seed},
        made_by="pyrobust sample",
        scored=True,
        first_id=40,
        shard_size=2,
    )


def write(path):
    writer = writer_of(path)
    writer.append(IMAGES, LABELS, SCORES)
    return writer


def test_a_store_gives_back_what_was_written(tmp_path):
    write(tmp_path).finish({"kept": 5})
    store = SampleStore.open(tmp_path)
    np.testing.assert_array_equal(store.images(), IMAGES)
    np.testing.assert_array_equal(store.gather(np.array([4, 0, 4])), IMAGES[[4, 0, 4]])
    np.testing.assert_array_equal(store.labels(), LABELS)
    np.testing.assert_array_equal(store.scores(), SCORES)
    assert (store.labels().dtype, store.scores().dtype) == (np.int64, np.float32)
    assert (store.count, store.image_shape, store.first_id) == (5, (2, 3, 1), 40)
    assert store.class_names == ("no", "yes")
    assert store.provenance == {"seed": 0, "kept": 5}
    assert [(first, len(images)) for first, images in store.blocks(3)] == [(0, 3), (3, 2)]
    store.verify()


def test_the_manifest_is_as_documented(tmp_path):
    write(tmp_path).finish()
    manifest = read_json(tmp_path / "manifest.json", "")
    shards = manifest.pop("shards")
    assert [shard["count"] for shard in shards] == [2, 2, 1]
    assert all(
        len(shard[name]) == 64 for shard in shards for name in ("images", "labels", "scores")
    )
    assert len(manifest.pop("identity")) == 64
    assert manifest == {
        "format": "pyrobust-store",
        "version": 1,
        "count": 5,
        "image_shape": [2, 3, 1],
        "dtype": "uint8",
        "class_names": ["no", "yes"],
        "labelled": True,
        "scored": True,
        "first_id": 40,
        "made_by": "pyrobust sample",
        "provenance": {"seed": 0},
    }
    assert np.load(tmp_path / "images-00001.npy", allow_pickle=False).shape == (2, 2, 3, 1)


def test_ids_follow_the_first_or_are_kept_with_each_image(tmp_path):
    write(tmp_path / "part").finish()
    part = SampleStore.open(tmp_path / "part")
    assert part.ids(np.array([4, 0])).tolist() == [44, 40]
    writer = StoreWriter(tmp_path / "kept", (2, 3, 1), ("no", "yes"), 5, {}, "", identified=True)
    writer.append(IMAGES, LABELS, ids=np.array([47, 3, 10**10, 0, 5]))
    writer.finish()
    kept = SampleStore.open(tmp_path / "kept")
    assert kept.ids(np.array([2, 1])).tolist() == [10**10, 3]


def test_a_writer_of_other_provenance_starts_from_scratch(tmp_path):
    write(tmp_path).finish()
    assert writer_of(tmp_path, seed=0).count == 5
    assert writer_of(tmp_path, seed=1).count == 0
    assert not list(tmp_path.glob("*.npy"))


@pytest.mark.parametrize("labels", [[0, 2, 0, 0, 0], [0, -1, 0, 0, 0]])
def test_a_label_that_is_not_a_class_is_never_written(tmp_path, labels):
    writer = StoreWriter(tmp_path, (2, 3, 1), ("no", "yes"), 5, {}, made_by="")
    with pytest.raises(
        UserError, match=r"in row 1 of the appended labels is out of range; expected 0 to 1"
    ):
        writer.append(IMAGES, np.array(labels))


def test_labels_come_in_a_smaller_type(tmp_path):
    write(tmp_path).finish()
    labels = SampleStore.open(tmp_path).labels(np.uint8)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8])
def test_a_label_that_is_not_a_class_is_never_read(tmp_path, dtype):
    writer = StoreWriter(tmp_path, (2, 3, 1), ("no", "yes"), 5, {}, made_by="", shard_size=2)
    writer.append(IMAGES, np.array([0, 0, 0, 1, 0]))
    writer.finish()
    manifest = read_json(tmp_path / "manifest.json", "")
    write_json(tmp_path / "manifest.json", {**manifest, "class_names": ["no"]})
    with pytest.raises(
        UserError, match=r"label 1 in row 3 of the labels of .* is out of range; expected 0 to 0"
    ):
        SampleStore.open(tmp_path).labels(dtype)


def test_a_store_without_labels_says_who_gives_them(tmp_path):
    writer = StoreWriter(tmp_path, (2, 3, 1), ("no", "yes"), 5, {}, made_by="", labelled=False)
    writer.append(IMAGES)
    writer.finish()
    store = SampleStore.open(tmp_path)
    assert store.scores() is None
    with pytest.raises(
        UserError, match="has no labels; add them with 'pyrobust label' and 'pyrobust select'"
    ):
        store.labels()


def test_a_missing_store_names_the_verbs_that_write_one(tmp_path):
    with pytest.raises(UserError, match=r"manifest\.json is missing: 'pyrobust dataset, sample"):
        SampleStore.open(tmp_path)


def test_a_file_of_samples_is_to_be_imported(tmp_path):
    with pytest.raises(UserError, match=r"is not a sample store; import it with 'pyrobust fit-gen"):
        SampleStore.open(tmp_path / "samples.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, r"manifest\.json is not the manifest of a sample store"),
        (
            {"version": 2},
            "is a sample store of version 2, but version 1 is required; run 'pyrobust",
        ),
        ({"count": 6}, r"manifest\.json lists 6 images, but its shards have 5"),
    ],
)
def test_another_manifest_is_refused(tmp_path, change, message):
    write(tmp_path).finish()
    manifest = read_json(tmp_path / "manifest.json", "")
    write_json(tmp_path / "manifest.json", {**manifest, **change})
    with pytest.raises(UserError, match=message):
        SampleStore.open(tmp_path)


def test_a_torn_shard_is_named_before_anything_is_read(tmp_path):
    write(tmp_path).finish()
    shard = tmp_path / "images-00002.npy"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(
        UserError, match=r"images-00002\.npy is damaged \(133 bytes, expected 134\); run 'pyrobust"
    ):
        SampleStore.open(tmp_path)


@pytest.mark.parametrize(("size", "pieces"), [(64, 6), (32, 24)])
def test_reading_a_store_keeps_a_bounded_resident_set(tmp_path, size, pieces):
    shape, shard_size = (size, size, 3), 64**2 * 1000 // size**2
    images = np.zeros((2000, *shape), np.uint8)
    writer = StoreWriter(
        tmp_path, shape, ("a",), 2000 * pieces, {}, "", labelled=False, shard_size=shard_size
    )
    for _ in range(pieces):
        writer.append(images)
    writer.finish()
    setup = f"""
import numpy as np
from pathlib import Path
from pyrobust.data.store import SampleStore
store = SampleStore.open(Path({str(tmp_path)!r}))
rng = np.random.default_rng(0)
"""
    work = """
for _, images in store.blocks(100):
    pass
for _ in range(40):
    store.gather(rng.integers(0, store.count, 256))
"""
    # The store has 147 MB, a shard 12 MB and a batch 3 MB.
    assert peak_bytes(setup, work) < 40e6

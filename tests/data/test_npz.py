"""The published `.npz` of images and labels, in and out."""

import numpy as np
import pytest

from pyrobust.data.npz import npz_blocks, npz_image_shape, npz_labels, write_npz
from pyrobust.data.store import SampleStore, StoreWriter
from pyrobust.errors import UserError


@pytest.fixture
def store(tmp_path, raw_files):
    images, labels = raw_files.train
    writer = StoreWriter(
        tmp_path / "store", (4, 4, 3), raw_files.names, 30, {}, made_by="", shard_size=11
    )
    writer.append(images, labels)
    writer.finish()
    return SampleStore.open(tmp_path / "store")


def test_numpy_reads_what_is_exported(store, tmp_path):
    write_npz(store, tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz", allow_pickle=False) as arrays:
        assert sorted(arrays) == ["image", "label"]
        np.testing.assert_array_equal(arrays["image"], store.images())
        np.testing.assert_array_equal(arrays["label"], store.labels())


def test_equal_stores_give_equal_files(store, tmp_path):
    write_npz(store, tmp_path / "one.npz")
    write_npz(store, tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("label_dtype", [np.uint8, np.int32, np.int64, ">i4"])
def test_blocks_are_read_in_order(tmp_path, raw_files, save, label_dtype):
    images, labels = raw_files.train
    path = tmp_path / "in.npz"
    save(path, image=images, label=labels.astype(label_dtype))
    assert npz_image_shape(path) == (30, (4, 4, 3))
    blocks = list(npz_blocks(path, 7))
    assert [len(block) for block in blocks] == [7, 7, 7, 7, 2]
    np.testing.assert_array_equal(np.concatenate(blocks), images)
    np.testing.assert_array_equal(npz_labels(path), labels)
    assert npz_labels(path).dtype == np.int64


def test_a_web_page_in_place_of_an_npz_is_named(tmp_path):
    path = tmp_path / "cifar10_ddpm.npz"
    path.write_text("<!doctype html>")
    with pytest.raises(UserError, match=r"cifar10_ddpm\.npz is damaged .*: fetch it again"):
        npz_labels(path)

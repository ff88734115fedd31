"""The verb `dataset`: what it writes, what it refuses, and what a kill leaves."""

import numpy as np
import pytest

from pyrobust.config import parse_settings
from pyrobust.config.data import DatasetSettings
from pyrobust.data.dataset import SPLITS, Dataset
from pyrobust.data.parquet import read_parquet
from pyrobust.data.prepare import channel_statistics, make_dataset
from pyrobust.data.store import SampleStore, StoreWriter
from pyrobust.errors import UserError
from pyrobust.files import read_json, sha256_of
from tests.kills import Killed, kill_at_rename


def settings_of(**values) -> DatasetSettings:
    return parse_settings(DatasetSettings, {"validation_size": 6, **values})


def make(raw_files, output, name="animals", **values) -> Dataset:
    make_dataset(name, raw_files.root.parent, output, settings_of(**values))
    return Dataset.open(output)


def files_of(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path: path.read_bytes() for path in files if path.name != "cost.json"}


def test_splits_keep_the_order_of_the_files(raw_files, tmp_path):
    raw_files.parquet()
    dataset = make(raw_files, tmp_path / "out", crop_padding=1, flip=False)
    images, labels = raw_files.train
    validation = [row for row in range(30) if _contains(dataset.validation, images[row])]
    train = [row for row in range(30) if row not in validation]
    assert len(validation) == 6
    for store, rows in ((dataset.train, train), (dataset.validation, validation)):
        np.testing.assert_array_equal(store.images(), images[rows])
        np.testing.assert_array_equal(store.labels(), labels[rows])
    np.testing.assert_array_equal(dataset.test.images(), raw_files.test[0])
    np.testing.assert_array_equal(np.bincount(dataset.validation.labels()), [2, 2, 2])
    assert (dataset.name, dataset.num_classes) == ("animals", 3)
    assert (dataset.class_names, dataset.image_shape) == (raw_files.names, (4, 4, 3))
    assert (dataset.crop_padding, dataset.flip) == (1, False)


def _contains(store, image):
    return (store.images() == image).all(axis=(1, 2, 3)).any()


def test_dataset_json_states_counts_sources_and_hashes(raw_files, tmp_path):
    folder = raw_files.npz()
    make(raw_files, tmp_path / "out")
    facts = read_json(tmp_path / "out" / "dataset.json", "")
    assert facts["counts"] == {"train": 24, "validation": 6, "test": 12}
    assert facts["sources"] == {
        f"{split}.npz": sha256_of(folder / f"{split}.npz") for split in ("train", "test")
    }
    assert facts["settings"]["layout"] == "npz"
    for split in SPLITS:
        assert facts["manifests"][split] == sha256_of(tmp_path / "out" / split / "manifest.json")


def test_statistics_are_those_of_the_training_pixels(raw_files, tmp_path):
    raw_files.npz()
    dataset = make(raw_files, tmp_path / "out")
    pixels = dataset.train.images() / 255
    np.testing.assert_allclose(dataset.mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-14)
    np.testing.assert_allclose(dataset.std, pixels.std(axis=(0, 1, 2)), rtol=1e-12)


def test_statistics_of_a_literal(tmp_path):
    writer = StoreWriter(tmp_path, (1, 2, 1), ("a",), 1, {}, made_by="", labelled=False)
    writer.append(np.array([[[[0], [255]]]], np.uint8))
    writer.finish()
    assert channel_statistics(SampleStore.open(tmp_path)) == ([0.5], [0.5])


def test_a_layout_without_test_split_gives_one(raw_files, tmp_path):
    raw_files.folder(splits=False)
    dataset = make(raw_files, tmp_path / "out", test_size=9)
    assert [getattr(dataset, split).count for split in SPLITS] == [27, 6, 9]
    assert np.bincount(dataset.test.labels()).tolist() == [3, 3, 3]
    everything = np.concatenate([getattr(dataset, split).images() for split in SPLITS])
    assert len(np.unique(everything.reshape(42, -1), axis=0)) == 42


def test_equal_settings_give_equal_bytes_and_another_seed_another_split(raw_files, tmp_path):
    raw_files.npz()
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    make(raw_files, first)
    make(raw_files, again)
    make(raw_files, other, seed=1)
    one, two = ([c for _, c in sorted(files_of(folder).items())] for folder in (first, again))
    assert one == two
    assert sha256_of(first / "validation/images-00000.npy") != sha256_of(
        other / "validation/images-00000.npy"
    )


def test_augmentation_settings_leave_the_stores_unchanged(raw_files, tmp_path):
    raw_files.npz()
    make(raw_files, tmp_path / "out")
    before = sha256_of(tmp_path / "out/train/manifest.json")
    dataset = make(raw_files, tmp_path / "out", flip=False)
    assert not dataset.flip
    assert sha256_of(tmp_path / "out/train/manifest.json") == before


def test_images_of_other_sizes_are_resized_on_request(raw_files, tmp_path):
    raw_files.folder()
    odd = raw_files.make_images(1, size=9)[0]
    (raw_files.root / "train" / "bee" / "odd.png").write_bytes(raw_files.png(odd))
    with pytest.raises(UserError, match=r"odd\.png has 9×9 pixels|has 4×4 pixels"):
        make(raw_files, tmp_path / "out")
    dataset = make(raw_files, tmp_path / "out", image_size=6)
    assert dataset.image_shape == (6, 6, 3)


def test_grey_images_become_colour_where_the_others_are(raw_files, tmp_path):
    raw_files.tinyimagenet()
    dataset = make(raw_files, tmp_path / "out")
    assert dataset.image_shape == (4, 4, 3)
    grey = raw_files.train[0][0, :, :, 0]
    stores = (dataset.train, dataset.validation)
    assert any(_contains(store, np.repeat(grey[:, :, None], 3, axis=2)) for store in stores)


def test_a_colour_image_among_grey_ones_is_named(raw_files, tmp_path):
    raw_files.train = (raw_files.make_images(30, channels=1), raw_files.train[1])
    raw_files.test = (raw_files.make_images(12, channels=1), raw_files.test[1])
    raw_files.folder()
    colour = raw_files.png(raw_files.make_images(1)[0])
    (raw_files.root / "test" / "bee" / "colour.png").write_bytes(colour)
    with pytest.raises(
        UserError,
        match=r"colour\.png is a colour image, but one channel is expected; set channels to 3",
    ):
        make(raw_files, tmp_path / "out")
    assert make(raw_files, tmp_path / "out", channels=3).image_shape == (4, 4, 3)


def _label(labels, row, value):
    changed = labels.copy()
    changed[row] = value
    return changed


MISTAKES = {
    "negative label": (
        lambda raw: setattr(raw, "train", (raw.train[0], _label(raw.train[1], 5, -1))),
        {},
        r"label -1 in row 5 of the labels of .*train-00000-of-00002\.parquet \.\.\.",
    ),
    "label out of range": (
        lambda raw: setattr(raw, "test", (raw.test[0], _label(raw.test[1], 7, 3))),
        {},
        r"label 3 in row 7 of the labels of .*test-00000-of-00002\.parquet \.\.\.",
    ),
    "empty class": (
        lambda raw: setattr(raw, "train", (raw.train[0], raw.train[1] % 2)),
        {},
        r"class 2 \('cow'\) has no image",
    ),
    "too much validation": (
        lambda raw: None,
        {"validation_size": 28},
        "validation_size is 28, but only 30 images of 3 classes are available and each",
    ),
    "two test splits": (
        lambda raw: None,
        {"test_size": 5},
        "test_size is 5, but animals already has a test split of 12 images; remove",
    ),
}


@pytest.mark.parametrize(("change", "values", "message"), MISTAKES.values(), ids=MISTAKES)
def test_bad_raw_files_are_refused_and_nothing_is_written(
    raw_files, tmp_path, change, values, message
):
    change(raw_files)
    raw_files.parquet()
    with pytest.raises(UserError, match=message):
        make(raw_files, tmp_path / "out", **values)
    assert not list((tmp_path / "out").rglob("*"))


def test_a_bad_image_late_in_the_files_leaves_nothing(raw_files, tmp_path, monkeypatch):
    monkeypatch.setattr("pyrobust.data.store._SHARD_BYTES", 200)
    raw_files.parquet()
    images = [raw_files.png(image) for image in raw_files.test[0][:6]]
    images[5] = images[5][:60]
    path = raw_files.root / "data" / "test-00001-of-00002.parquet"
    raw_files.write_parquet(path, images, [0, 1, 2, 0, 1, 2])
    with pytest.raises(UserError, match=r"row 5 of .*test-00001.* cannot be read as an image"):
        make(raw_files, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*"))


def test_digits_need_a_test_size(tmp_path):
    with pytest.raises(
        UserError, match=r"digits has no test split; set test_size \(for example --test-size 359\)"
    ):
        make_dataset("digits", tmp_path, tmp_path / "out", settings_of())


@pytest.mark.parametrize("kill", range(0, 24, 3))
def test_a_killed_run_resumes_to_the_same_bytes(raw_files, tmp_path, monkeypatch, kill):
    monkeypatch.setattr("pyrobust.data.store._SHARD_BYTES", 4 * 4 * 3 * 7)
    raw_files.npz()
    make(raw_files, tmp_path / "straight")
    with monkeypatch.context() as patch:
        kill_at_rename(patch, kill)
        with pytest.raises(Killed):
            make(raw_files, tmp_path / "out")
    make(raw_files, tmp_path / "out")
    contents = [
        {path.relative_to(tmp_path / name): c for path, c in files_of(tmp_path / name).items()}
        for name in ("straight", "out")
    ]
    assert contents[0] == contents[1]


def test_real_cifar10_is_read(cifar10_parquet, tmp_path):
    raw = read_parquet(cifar10_parquet, "cifar10")
    assert np.bincount(raw.train.labels).tolist() == [5000] * 10
    assert raw.class_names[:2] == ("airplane", "automobile")
    images = list(raw.test.read(np.array([0, 6000])))
    assert [image.pixels.shape for image in images] == [(32, 32, 3)] * 2
    assert images[0].where.startswith("row 0 of")

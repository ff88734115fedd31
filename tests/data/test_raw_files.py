"""Every raw file is used, known to hold no data, or refused; no split takes another's images."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pyrobust.config.data import DatasetSettings
from pyrobust.data import image_folders
from pyrobust.data.dataset import SPLITS, Dataset
from pyrobust.data.prepare import make_dataset, make_test_store
from pyrobust.data.raw import distinct_names
from pyrobust.data.raw_files import split_of
from pyrobust.errors import UserError
from pyrobust.files import sha256_of
from pyrobust.room import check_memory, check_room


def make(raw_files, tmp_path, **values) -> Dataset:
    output = tmp_path / "out"
    make_dataset("animals", raw_files.root.parent, output, DatasetSettings(**values))
    return Dataset.open(output)


def assert_splits(dataset, raw_files, validation_size: int = 6) -> None:
    """Each split holds the images of its own files, whatever their order."""
    counts = {"train": 30 - validation_size, "validation": validation_size, "test": 12}
    assert {split: getattr(dataset, split).count for split in SPLITS} == counts
    test = {image.tobytes() for image in raw_files.test[0]}
    assert {image.tobytes() for image in dataset.test.images()} == test


def parquet(raw_files, path: str, split: str, rows=slice(None)) -> None:
    images, labels = getattr(raw_files, split)
    encoded = [raw_files.png(image) for image in images[rows]]
    raw_files.write_parquet(raw_files.root / path, encoded, labels[rows].tolist())


def npz(raw_files, path: str, split: str) -> None:
    images, labels = getattr(raw_files, split)
    (raw_files.root / path).parent.mkdir(parents=True, exist_ok=True)
    np.savez(raw_files.root / path, image=images, label=labels)


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("default/train/0000.parquet", "train"),
        ("partial-train/0000.parquet", "train"),
        ("data/cifar10-test.npz", "test"),
        ("data/test_batch.npz", "test"),
        ("eval.npz", "test"),
        ("Val-00.parquet", "validation"),
        ("dev/0.parquet", "validation"),
        ("latest.npz", None),
        ("trainer.npz", None),
        ("contest.npz", None),
    ],
)
def test_a_split_is_a_word_in_the_path(path, split):
    assert split_of(Path(path)) == split


def test_a_path_with_two_splits_is_refused():
    with pytest.raises(
        UserError, match=r"train/test\.npz names several splits \(test and train\); name only one"
    ):
        split_of(Path("train/test.npz"))


@pytest.mark.parametrize("kind", [parquet, npz])
@pytest.mark.parametrize(
    "layout",
    [
        "{split}.{kind}",
        "default/{split}/0000.{kind}",
        "{split}/a.{kind}",
        "data/x-{split}-1.{kind}",
    ],
)
def test_splits_of_the_hub_are_recognised(raw_files, tmp_path, layout, kind):
    for split in ("train", "test"):
        kind(raw_files, layout.format(split=split, kind=kind.__name__), split)
    assert_splits(make(raw_files, tmp_path, validation_size=6), raw_files)


@pytest.mark.parametrize("kind", [parquet, npz])
def test_a_validation_split_is_the_validation_split(raw_files, tmp_path, kind):
    raw_files.extra = (raw_files.make_images(9, seed=2), np.arange(9) % 3)
    for split, held in (("train", "train"), ("test", "test"), ("val", "extra")):
        kind(raw_files, f"{split}.{kind.__name__}", held)
    dataset = make(raw_files, tmp_path)
    np.testing.assert_array_equal(dataset.train.images(), raw_files.train[0])
    np.testing.assert_array_equal(dataset.validation.images(), raw_files.extra[0])
    np.testing.assert_array_equal(dataset.test.images(), raw_files.test[0])
    assert dataset.settings.validation_size == 9
    with pytest.raises(
        UserError,
        match="validation_size is 6, but animals already has a validation split of 9 images",
    ):
        make(raw_files, tmp_path, validation_size=6)


def test_an_image_folder_keeps_its_validation_split(raw_files, tmp_path):
    folder = raw_files.folder()
    (folder / "val" / "ant").mkdir(parents=True)
    (folder / "val" / "ant" / "x.png").write_bytes(raw_files.png(raw_files.make_images(1)[0]))
    dataset = make(raw_files, tmp_path)
    assert [getattr(dataset, split).count for split in SPLITS] == [30, 1, 12]


def test_a_folder_around_the_splits_is_looked_into(raw_files, tmp_path):
    folder = raw_files.folder()
    (folder / "unpacked").mkdir()
    for split in ("train", "test"):
        (folder / split).rename(folder / "unpacked" / split)
    assert_splits(make(raw_files, tmp_path, validation_size=6), raw_files)


@pytest.mark.parametrize("name", ["._train.npz", ".DS_Store", "__MACOSX/._x.npz", "Thumbs.db"])
@pytest.mark.parametrize("layout", ["npz", "folder", "parquet", "tinyimagenet"])
def test_files_of_the_system_hold_no_data(raw_files, tmp_path, name, layout):
    folder = getattr(raw_files, layout)()
    inside = next(path.parent for path in sorted(folder.rglob("*.*")) if path.is_file())
    for place in (folder, inside):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(b"\0\5\x16\7")
    images = [path.parent for path in folder.rglob("*.png")] + [*folder.glob("*/train/*/images")]
    if images:
        (images[0] / "._000.png").write_bytes(b"\0\5\x16\7")
    assert_splits(make(raw_files, tmp_path, validation_size=6), raw_files)


def test_images_of_any_suffix_are_read(raw_files, tmp_path):
    folder = raw_files.folder()
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        path.rename(path.with_suffix((".png", ".tiff", ".PNG", ".jfif", ".webp")[number % 5]))
    assert_splits(make(raw_files, tmp_path, validation_size=6), raw_files)


@pytest.mark.parametrize(
    ("layout", "name", "message"),
    [
        (
            "folder",
            "train/ant/x.dat",
            r"x\.dat is neither an image that Pillow reads nor a known file without data",
        ),
        ("folder", "train/ant/0001", "0001 is neither an image"),
        ("folder", "train/x.png", r"train is not a class folder of a split|x\.png is in neither"),
        ("folder", "train/ant/deeper/x.png", r"x\.png is in neither .*<split>/<class>/"),
        ("folder", "more/x.png", "more is not a class folder of a split"),
        ("folder", "flowers.tgz", r"flowers\.tgz is neither an image"),
        ("npz", "more.npz", r"more\.npz names no split, but other files"),
        ("npz", "x.png", r"x\.png is neither an \.npz file"),
        ("npz", "other/train.npz", "the train split is in several folders,"),
        ("parquet", "other/train.parquet", "the train split is in several folders,"),
        ("parquet", "data/train-00002-of-00004.parquet", "part 3 of 4 of the train split is miss"),
        ("parquet", "train.npz", r"train\.npz is neither a Parquet file"),
    ],
)
def test_a_file_without_a_place_is_named(raw_files, tmp_path, layout, name, message):
    folder = getattr(raw_files, layout)()
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    example = next((path for path in files if path.suffix == Path(name).suffix), files[0])
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(example.read_bytes())
    with pytest.raises(UserError, match=message):
        make(raw_files, tmp_path, validation_size=6)
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_a_missing_numbered_part_is_named(raw_files, tmp_path):
    folder = raw_files.parquet()
    (folder / "data" / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(UserError, match="part 1 of 2 of the train split is missing"):
        make(raw_files, tmp_path, validation_size=6)


def test_images_without_class_folders_are_refused(raw_files, tmp_path):
    raw_files.folder()
    for path in list(raw_files.root.rglob("*.png")):
        path.rename(path.parent.parent / path.name)
    with pytest.raises(UserError, match="is not a class folder of a split; put images into"):
        make(raw_files, tmp_path, validation_size=6)


def test_a_list_of_classes_without_images_is_refused(tmp_path):
    (tmp_path / "classes.txt").write_text("ant\nbee\n")
    with pytest.raises(UserError, match="has no class folders; add train/<class>"):
        image_folders.read_folder(tmp_path, "beasts")


def test_links_are_followed_and_loops_are_refused(raw_files, tmp_path):
    folder = raw_files.folder()
    elsewhere = tmp_path / "elsewhere"
    (folder / "train" / "bee").rename(elsewhere)
    (folder / "train" / "bee").symlink_to(elsewhere)
    assert_splits(make(raw_files, tmp_path, validation_size=6), raw_files)
    (folder / "train" / "bee" / "loop").symlink_to(folder)
    with pytest.raises(UserError, match="loop links to a folder that contains it; remove the link"):
        make(raw_files, tmp_path, validation_size=6)


def test_devices_and_pipes_are_refused(raw_files, tmp_path):
    folder = raw_files.folder()
    (folder / "train" / "bee" / "zero.png").symlink_to("/dev/zero")
    with pytest.raises(UserError, match=r"zero\.png is neither a file nor a folder"):
        make(raw_files, tmp_path, validation_size=6)
    (folder / "train" / "bee" / "zero.png").unlink()
    os.mkfifo(folder / "train" / "bee" / "pipe.png")
    with pytest.raises(UserError, match=r"pipe\.png is neither a file nor a folder"):
        make(raw_files, tmp_path, validation_size=6)


def test_the_order_of_classes_is_that_of_their_file(raw_files, tmp_path):
    folder = raw_files.folder()
    (folder / "classes.txt").write_text("cow\nant\nbee\n")
    dataset = make(raw_files, tmp_path, validation_size=6)
    assert dataset.class_names == ("cow", "ant", "bee")
    labels = {i.tobytes(): (k + 1) % 3 for i, k in zip(*raw_files.test, strict=True)}
    found = zip(dataset.test.images(), dataset.test.labels(), strict=True)
    assert {image.tobytes(): label for image, label in found} == labels


def test_two_classes_of_one_name_stay_two(raw_files, tmp_path):
    raw_files.npz()
    (raw_files.root / "classes.txt").write_text("\ufeffcrane\r\ncow\r\ncrane\r\n")
    dataset = make(raw_files, tmp_path, validation_size=6)
    assert dataset.class_names == ("crane (0)", "cow", "crane (2)")
    assert distinct_names(("a", "b")) == ("a", "b")


def test_a_class_with_nothing_but_hidden_files_is_a_class(raw_files, tmp_path):
    raw_files.folder(splits=False)
    names = sorted(path.name for path in raw_files.root.iterdir())
    for path in (raw_files.root / names[1]).iterdir():
        path.unlink()
    (raw_files.root / names[1] / ".gitkeep").touch()
    (raw_files.root / "__MACOSX").mkdir()
    store = make_test_store(raw_files.root, tmp_path / "images")
    assert store.class_names == tuple(names)
    assert set(store.labels().tolist()) == {0, 2}
    with pytest.raises(UserError, match=f"class 1 .'{names[1]}'. has no images"):
        make(raw_files, tmp_path)


def hub_file(raw_files, split: str, column: str, names: list[str]) -> None:
    images, labels = getattr(raw_files, split)
    table = pa.table({"image": [raw_files.png(image) for image in images], column: labels})
    facts = {"info": {"features": {column: {"names": names, "_type": "ClassLabel"}}}}
    path = raw_files.root / f"{split}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(facts)}), path)


@pytest.mark.parametrize(
    ("column", "names", "message"),
    [
        ("label", ["cow", "ant", "bee"], "have different classes, .*'ant', 'bee', 'cow'"),
        ("fine_label", ["ant", "bee", "cow"], "have different columns, fine_label and label"),
    ],
)
def test_files_that_number_classes_differently_are_refused(
    raw_files, tmp_path, column, names, message
):
    hub_file(raw_files, "train", "label", ["ant", "bee", "cow"])
    hub_file(raw_files, "test", column, names)
    with pytest.raises(UserError, match=message):
        make(raw_files, tmp_path, validation_size=6)


def test_two_columns_of_one_name_are_refused(raw_files, tmp_path):
    parquet(raw_files, "test.parquet", "test")
    images, labels = raw_files.train
    columns = [[raw_files.png(image) for image in images], labels, labels]
    table = pa.Table.from_arrays(list(map(pa.array, columns)), ["image", "label", "label"])
    pq.write_table(table, raw_files.root / "train.parquet")
    with pytest.raises(UserError, match=r"train\.parquet has two columns label; keep one of them"):
        make(raw_files, tmp_path, validation_size=6)


def test_test_images_alone_are_evaluated_and_no_data_set(raw_files, tmp_path):
    raw_files.npz()
    (raw_files.root / "train.npz").unlink()
    with pytest.raises(
        UserError,
        match=r"animals has no training images; add train/<class>/\*\.png, or evaluate a model",
    ):
        make(raw_files, tmp_path)
    store = make_test_store(raw_files.root, tmp_path / "images")
    np.testing.assert_array_equal(store.images(), raw_files.test[0])
    np.testing.assert_array_equal(store.labels(), raw_files.test[1])


def test_images_without_splits_are_all_test_images_but_training_images_are_none(
    raw_files, tmp_path
):
    raw_files.folder(splits=False)
    assert make_test_store(raw_files.root, tmp_path / "images").count == 42
    for path in list(raw_files.root.iterdir()):
        (raw_files.root / "train").mkdir(exist_ok=True)
        path.rename(raw_files.root / "train" / path.name)
    with pytest.raises(UserError, match="has no test images"):
        make_test_store(raw_files.root, tmp_path / "other")


def test_a_header_that_promises_more_than_the_file_holds_is_refused(raw_files, tmp_path):
    raw_files.npz()
    path = raw_files.root / "train.npz"
    shape = b"(1000000000000, 4, 4, 3), }"
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "changed", "w") as changed:
        for name in whole.namelist():
            data = whole.read(name)
            if name == "image.npy":
                start, end = data.index(b"(30"), data.index(b"}") + 1
                data = data[:start] + shape + data[end + len(shape) - (end - start) :]
            changed.writestr(name, data)
    (tmp_path / "changed").replace(path)
    with pytest.raises(
        UserError,
        match=r"'image' in .*train\.npz is damaged: its header announces 48,000,000,000,000",
    ):
        make(raw_files, tmp_path)


def test_what_neither_disk_nor_memory_hold_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"it needs 1e\+06 TB in .* [TG]B are free"):
        check_room(tmp_path / "new" / "folder", 10**18, "it")
    with pytest.raises(UserError, match=r"it needs .* TB of memory, but this machine has .* [TG]B"):
        check_memory(10**18, "it")
    check_room(tmp_path, 10, "it")
    check_memory(10, "it")


def test_the_sources_of_named_splits_are_hashed(raw_files, tmp_path):
    raw_files.npz()
    make(raw_files, tmp_path, validation_size=6)
    store = Dataset.open(tmp_path / "out").train
    assert store.provenance["sources"]["train.npz"] == sha256_of(raw_files.root / "train.npz")

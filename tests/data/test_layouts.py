"""Every layout of raw files gives the same images and labels."""

import shutil
import zipfile

import numpy as np
import pytest

from pyrobust.data.detect import LAYOUTS, detect_layout
from pyrobust.errors import UserError


def images_of(split, rows=None):
    rows = np.arange(len(split.labels)) if rows is None else np.array(rows)
    return [image.pixels for image in split.read(rows)]


def read(folder, name="animals"):
    layout = detect_layout(folder, name)
    return layout, LAYOUTS[layout](folder, name)


@pytest.mark.parametrize("layout", ["parquet", "npz"])
def test_rows_and_their_order_are_those_of_the_files(raw_files, layout):
    found, raw = read(getattr(raw_files, layout)())
    assert found == layout
    for split, (images, labels) in ((raw.train, raw_files.train), (raw.test, raw_files.test)):
        np.testing.assert_array_equal(split.labels, labels)
        np.testing.assert_array_equal(images_of(split), images)
        np.testing.assert_array_equal(images_of(split, [2, 8, 11]), images[[2, 8, 11]])


def test_parquet_brings_its_class_names_and_hashes(raw_files):
    _, raw = read(raw_files.parquet())
    assert raw.class_names == raw_files.names
    assert sorted(raw.source_hashes) == [
        f"data/{split}-{part:05}-of-00002.parquet" for split in ("test", "train") for part in (0, 1)
    ]


@pytest.mark.parametrize("name", ["fine_label", "coarse_label"])
def test_parquet_with_another_label_column_is_read(raw_files, name):
    _, raw = read(raw_files.parquet(image_column="image", label_column=name))
    np.testing.assert_array_equal(raw.train.labels, raw_files.train[1])
    assert raw.class_names == raw_files.names


def test_parquet_named_valid_replaces_a_missing_test_split(raw_files):
    folder = raw_files.parquet()
    for path in folder.rglob("test-*"):
        path.rename(path.with_name(path.name.replace("test", "valid")))
    _, raw = read(folder)
    assert raw.test is not None
    np.testing.assert_array_equal(raw.test.labels, raw_files.test[1])


@pytest.mark.parametrize(
    ("name", "classes", "expected"),
    [
        ("animals", None, ("0", "1", "2")),
        ("animals", "x\ny\n\n z \n", ("x", "y", "z")),
        ("cifar10", None, ("airplane", "automobile", "bird")),
    ],
)
def test_numbers_are_named_by_a_file_or_by_the_data_set(raw_files, name, classes, expected):
    folder = raw_files.parquet(names=None)
    if classes:
        (folder / "classes.txt").write_text(classes)
    _, raw = read(folder, name)
    assert raw.class_names[:3] == expected


def test_npz_may_be_compressed(raw_files):
    _, raw = read(raw_files.npz(compressed=True))
    np.testing.assert_array_equal(images_of(raw.train), raw_files.train[0])


@pytest.mark.parametrize("splits", [True, False])
def test_a_folder_of_images_is_shuffled_and_complete(raw_files, splits):
    layout, raw = read(raw_files.folder(splits))
    assert (layout, raw.class_names) == ("folder", raw_files.names)
    assert (raw.test is None) is not splits
    expected = {image.tobytes(): label for image, label in zip(*raw_files.train, strict=True)}
    if not splits:
        expected |= {image.tobytes(): label for image, label in zip(*raw_files.test, strict=True)}
    found = {
        image.tobytes(): label
        for image, label in zip(images_of(raw.train), raw.train.labels, strict=True)
    }
    assert found == expected
    assert (np.diff(raw.train.labels) < 0).any()


@pytest.mark.parametrize("zipped", [True, False])
def test_tinyimagenet_is_read_in_the_order_of_wordnet(raw_files, zipped):
    folder = raw_files.tinyimagenet()
    if zipped:
        shutil.make_archive(str(folder / "tiny-imagenet-200"), "zip", folder, "tiny-imagenet-200")
        shutil.rmtree(folder / "tiny-imagenet-200")
    layout, raw = read(folder, "tinyimagenet")
    assert layout == "tinyimagenet"
    assert raw.class_names == ("crane n01", "crane n02", "cow")
    assert (len(raw.train.labels), len(raw.test.labels), raw.channels) == (30, 12, 3)
    # Label 0 of the files' making is n03, the last in the order of WordNet.
    np.testing.assert_array_equal(raw.test.labels, (raw_files.test[1] + 2) % 3)
    np.testing.assert_array_equal(images_of(raw.test), raw_files.test[0])
    assert np.bincount(raw.train.labels).tolist() == [10, 10, 10]


def test_digits_come_with_scikit_learn(tmp_path):
    layout, raw = read(tmp_path / "nothing", "digits")
    assert (layout, len(raw.train.labels), raw.test) == ("digits", 1797, None)
    (first,) = images_of(raw.train, [0])
    assert (first.shape, first.dtype, raw.train.labels[0]) == ((8, 8, 1), np.uint8, 0)
    # Shades 0, 5, 13, 9, 1 of 16 in the first row of the first digit.
    assert first[0, :, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]


def test_nothing_known_says_what_goes_where(tmp_path):
    with pytest.raises(UserError, match=r"no raw files of 'animals' in .*put train\*\.parquet"):
        detect_layout(tmp_path / "animals", "animals")
    with pytest.raises(UserError, match=r"tiny-imagenet-200\.zip"):
        detect_layout(tmp_path / "tinyimagenet", "tinyimagenet")


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn"])
def test_no_network_says_what_goes_where(tmp_path, monkeypatch, name):
    def unreachable(*args, **options):
        raise OSError("network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    with pytest.raises(UserError) as error:
        read(tmp_path / name, name)
    archive = "train_32x32.mat and test" if name == "svhn" else f"{name[:5]}-{name[5:]}-python.tar"
    assert "network is unreachable" in str(error.value)
    assert archive in str(error.value)
    assert str(tmp_path / name) in str(error.value)
    assert not (tmp_path / name).exists()


DAMAGE = {
    "truncated": (lambda data: data[: len(data) // 2], r"train-00000.*is damaged"),
    "empty": (lambda data: b"", r"train-00000.*is damaged"),
    "a web page": (lambda data: b"<!doctype html>" * 99, r"train-00000.*is damaged"),
    "torn inside": (lambda data: data[:200] + b"\0" * 600 + data[800:], "train-00000"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_parquet_file_is_named(raw_files, damage, message):
    folder = raw_files.parquet()
    path = folder / "data" / "train-00000-of-00002.parquet"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=message):
        images_of(read(folder)[1].train)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"image_column": "picture"},
            r"train-00000-of-00002\.parquet has no image column among picture, label",
        ),
        (
            {"label_column": "target"},
            r"test-00000-of-00002\.parquet has no label column among img, target; expected",
        ),
    ],
)
def test_a_missing_column_is_named(raw_files, options, message):
    with pytest.raises(UserError, match=message):
        images_of(read(raw_files.parquet(**options))[1].train)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, r"row 4 of .*train\.parquet has no image bytes; expected a PNG or JPEG file"),
        (b"no image", "row 4 of .* cannot be read as"),
    ],
)
def test_an_unreadable_image_is_named_by_its_row(raw_files, data, message):
    images = [raw_files.png(image) for image in raw_files.make_images(9)]
    images[4] = data
    raw_files.write_parquet(raw_files.root / "train.parquet", images, [0, 1, 2] * 3)
    with pytest.raises(UserError, match=message):
        images_of(read(raw_files.root)[1].train)


NPZ = {
    "no label": (
        {"image": np.zeros((3, 4, 4, 3), np.uint8)},
        r"has no array 'label' \(its arrays: image\); save 'image'",
    ),
    "floats": (
        {"image": np.zeros((3, 4, 4, 3)), "label": np.zeros(3, int)},
        r"'image' in .*train\.npz has type float64 and shape \(3, 4, 4, 3\); expected",
    ),
    "channels first": (
        {"image": np.zeros((3, 3, 4, 4), np.uint8), "label": np.zeros(3, int)},
        r"'image' in .*train\.npz has type uint8 and shape \(3, 3, 4, 4\); expected uint8",
    ),
    "fewer labels": (
        {"image": np.zeros((3, 4, 4, 3), np.uint8), "label": np.zeros(2, int)},
        r"'label' in .*train\.npz has type int64 and shape \(2,\); expected integers of",
    ),
    "objects": (
        {"image": np.zeros((1, 4, 4, 3), np.uint8), "label": np.array([None])},
        "objects|expected integers",
    ),
}


@pytest.mark.parametrize(("arrays", "message"), NPZ.values(), ids=NPZ)
def test_an_npz_of_other_arrays_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "train.npz", **arrays)
    with pytest.raises(UserError, match=message):
        read(tmp_path)


def test_a_truncated_npz_is_named(raw_files):
    folder = raw_files.npz(compressed=True)
    path = folder / "train.npz"
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(UserError, match=r"train\.npz is damaged"):
        read(folder)


def test_a_torn_member_of_an_npz_is_named(raw_files):
    folder = raw_files.npz()
    path = folder / "train.npz"
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("image.npy").header_offset + 400
    data = bytearray(path.read_bytes())
    data[offset] ^= 255
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"train\.npz is (damaged|no array)|train\.npz.*CRC"):
        images_of(read(folder)[1].train)


def test_a_test_class_that_train_does_not_have_is_named(raw_files):
    folder = raw_files.folder()
    (folder / "test" / "cat").mkdir()
    with pytest.raises(UserError, match="cat is a class that the training split does not have"):
        read(folder)

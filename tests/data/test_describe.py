"""The verb `info`."""

import numpy as np
import pytest

from pyrobust.config.data import DatasetSettings
from pyrobust.data.describe import describe
from pyrobust.data.distances import DistanceWriter
from pyrobust.data.feature_set import FeatureWriter
from pyrobust.data.labels import LabelWriter
from pyrobust.data.prepare import make_dataset
from pyrobust.data.store import StoreWriter
from pyrobust.errors import UserError


@pytest.fixture
def dataset(raw_files, tmp_path):
    raw_files.npz()
    output = tmp_path / "out"
    make_dataset("animals", raw_files.root.parent, output, DatasetSettings(validation_size=6))
    return output


@pytest.fixture
def labels(tmp_path):
    writer = LabelWriter(tmp_path / "labels", ("no", "yes"), 3, 7, {}, conditional=False)
    writer.append(np.array([0, 1, 1]), np.array([0.5, 0.5, 1.0], np.float32))
    writer.finish()
    return tmp_path / "labels"


def test_a_data_set_is_described_in_lines(dataset):
    lines = list(describe(dataset, verify=False))
    assert lines[0] == "data set animals: 3 classes (0, 1, 2)"
    assert lines[1] == "images: 4×4×3, uint8"
    assert lines[-1] == "test: 12 images (4 of each class)"


def test_a_store_is_described_in_lines(dataset):
    lines = list(describe(dataset / "train" / "manifest.json", verify=True))
    assert lines[0] == "sample store: 24 images of 4×4×3, uint8"
    assert lines[-1] == "every file matches its SHA-256"


def test_labels_are_described_in_lines(labels):
    assert list(describe(labels, verify=True)) == [
        "pseudo-labels of 3 samples from id 7 on",
        "labels: 1 no to 2 yes",
        "scores: mean 0.6667",
        "every file matches its SHA-256",
    ]


def test_distances_are_described_in_lines(tmp_path):
    writer = DistanceWriter(tmp_path, 3, 7, {"mirrored": True})
    writer.append(np.array([0.125, 0.25, 0.75], np.float32))
    writer.finish()
    assert list(describe(tmp_path, verify=True)) == [
        "distances to training images of 3 samples from id 7 on",
        "distances: least 0.1250, median 0.2500",
        "mirrored: True",
        "every file matches its SHA-256",
    ]


def test_features_are_described_in_lines(tmp_path):
    provenance = {"extractor": {"name": "labeller", "weights_sha256": "ab"}}
    writer = FeatureWriter(tmp_path, 4, 2, 0, ("no", "yes"), False, "float16", 2, provenance)
    writer.append(features=np.ones((4, 2), np.float16), rows=np.arange(4))
    writer.finish()
    assert list(describe(tmp_path, verify=True)) == [
        "features of 4 images: 2 values, float16",
        "logits: none",
        "classes: 2 classes (no, yes)",
        "extractor name: labeller",
        "extractor weights_sha256: ab",
        "every file matches its SHA-256",
    ]


def write_part(folder, number, generator="gaussian"):
    """Write part `number` of samples of ten images each."""
    made_of = {"generator": generator, "seed": 0}
    writer = StoreWriter(
        folder / str(number), (4, 4, 1), ("no", "yes"), 10, made_of, "pyrobust sample", False,
        first_id=10 * number,
    )  # fmt: skip
    writer.append(np.full((10, 4, 4, 1), number, np.uint8))
    writer.finish()


def test_parts_are_described_together(tmp_path):
    for number in (0, 1, 10):
        write_part(tmp_path, number)
    (tmp_path / "2").mkdir()
    assert list(describe(tmp_path, verify=True)) == [
        "3 parts: sample stores of 30 images",
        "ids: 0 to 19, 100 to 109",
        "not finished (no manifest.json): 2",
        "generator: gaussian",
        "seed: 0",
        "every file of every part matches its SHA-256",
    ]


def test_parts_of_labels_are_described_together(tmp_path):
    for number in (0, 1):
        made_of = {"samples_sha256": str(number), "labeller_sha256": "ab"}
        writer = LabelWriter(tmp_path / str(number), ("no", "yes"), 2, 2 * number, made_of, False)
        writer.append(np.array([0, 1]), np.array([0.5, 0.5], np.float32))
        writer.finish()
    assert list(describe(tmp_path, verify=False)) == [
        "2 parts: pseudo-labels of 4 images",
        "ids: 0 to 3",
        "labeller_sha256: ab",
    ]


def test_the_damaged_part_is_named(tmp_path):
    for number in range(3):
        write_part(tmp_path, number)
    path = tmp_path / "1" / "images-00000.npy"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    assert next(describe(tmp_path, verify=False)) == "3 parts: sample stores of 30 images"
    with pytest.raises(UserError, match=r"1/images-00000\.npy does not match its SHA-256"):
        list(describe(tmp_path, verify=True))


def test_a_part_of_another_generator_is_named(tmp_path):
    write_part(tmp_path, 0)
    write_part(tmp_path, 1, generator="ddpm")
    with pytest.raises(UserError, match=r"1 was made from .*ddpm.*, but .*0 from .*gaussian"):
        list(describe(tmp_path, verify=False))


@pytest.mark.parametrize("name", ["images-00000.npy", "labels-00000.npy"])
def test_a_flipped_byte_is_named(dataset, name):
    path = dataset / "validation" / name
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=rf"validation/{name} does not match its SHA-256.*dataset"):
        list(describe(dataset, verify=True))


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(
        UserError, match=r"contains none of dataset\.json, manifest\.json, labels\.json"
    ):
        list(describe(tmp_path, verify=False))

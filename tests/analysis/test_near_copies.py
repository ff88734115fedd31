from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyrobust.analysis import near_copies
from pyrobust.analysis.candidates import Neighbours
from pyrobust.analysis.exact_search import nearest_neighbours
from pyrobust.analysis.near_copies import TrainingDistances
from pyrobust.analysis.pca import FeatureRows
from pyrobust.config.data import DatasetSettings
from pyrobust.data import distances as format_
from pyrobust.data.dataset import Dataset
from pyrobust.data.distances import DistanceStore
from pyrobust.data.prepare import make_dataset
from pyrobust.data.store import SampleStore, StoreWriter
from pyrobust.errors import UserError
from tests.analysis.making import make_store, run_verb

SHAPE = (3, 4, 1)
MEMORY = 1 << 30


@pytest.fixture
def make_dataset_of(tmp_path: Path) -> Callable[..., Dataset]:
    """Return a function that makes a data set of two classes, mirrored in training or not."""

    def make(images: np.ndarray, flip: bool) -> Dataset:
        raw = tmp_path / "raw" / "things"
        raw.mkdir(parents=True)
        labels = np.arange(len(images)) % 2
        np.savez(raw / "train.npz", image=images, label=labels)
        np.savez(raw / "test.npz", image=images[:4], label=labels[:4])
        settings = DatasetSettings(validation_size=2, flip=flip)
        make_dataset("things", raw.parent, tmp_path / "dataset", settings)
        return Dataset.open(tmp_path / "dataset")

    return make


def random_images(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), dtype=np.uint8)


def store_of(path: Path, images: np.ndarray, first_id: int = 0) -> SampleStore:
    writer = StoreWriter(
        path, SHAPE, ("0", "1"), len(images), {}, "pyrobust sample", False, first_id=first_id
    )
    writer.append(images)
    writer.finish()
    return SampleStore.open(path)


@pytest.mark.parametrize("flip", [True, False])
def test_distances_are_those_of_a_plain_loop(
    make_dataset_of: Callable[..., Dataset], tmp_path: Path, flip: bool
) -> None:
    dataset = make_dataset_of(random_images(60, 0), flip)
    samples = store_of(tmp_path / "part", random_images(40, 1), first_id=80)
    TrainingDistances(dataset, MEMORY).measure(samples, tmp_path / "out")
    training = dataset.train.images() / 255
    if flip:
        training = np.concatenate([training, training[:, :, ::-1]])
    expected = [
        min(np.sqrt(np.mean((image / 255 - other) ** 2)) for other in training)
        for image in samples.images()
    ]
    found = DistanceStore.open(tmp_path / "out")
    np.testing.assert_allclose(found.distances(), expected, rtol=1e-6)
    assert (found.first_id, found.count) == (80, 40)
    found.verify()


def test_copies_and_mirrored_copies_are_at_distance_zero(
    make_dataset_of: Callable[..., Dataset], tmp_path: Path
) -> None:
    dataset = make_dataset_of(random_images(60, 0), True)
    train = dataset.train.images()
    one_step = train[2:3].copy()
    one_step[0, 0, 0, 0] ^= 1
    samples = np.concatenate([train[:1], train[1:2, :, ::-1], one_step])
    measure = TrainingDistances(dataset, MEMORY)
    measure.measure(store_of(tmp_path / "part", samples), tmp_path / "out")
    found = DistanceStore.open(tmp_path / "out").distances()
    np.testing.assert_array_equal(found, np.array([0, 0, 1 / 255 / 12**0.5], np.float32))


def test_a_killed_measurement_resumes_to_the_same_bytes(
    make_dataset_of: Callable[..., Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyrobust.analysis.near_copies.SHARD_SIZE", 16)
    monkeypatch.setattr(format_, "SHARD_SIZE", 16)
    dataset = make_dataset_of(random_images(60, 0), True)
    samples = store_of(tmp_path / "part", random_images(40, 1))
    measure = TrainingDistances(dataset, MEMORY)
    measure.measure(samples, tmp_path / "straight")

    calls = 0

    def kill(*arguments: object) -> dict[str, object]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return original(*arguments)

    original = format_.DistanceWriter.append
    with monkeypatch.context() as patch:
        patch.setattr(format_.DistanceWriter, "append", kill)
        with pytest.raises(KeyboardInterrupt):
            measure.measure(samples, tmp_path / "killed")
    assert (tmp_path / "killed" / "progress.json").is_file()
    measure.measure(samples, tmp_path / "killed")
    files = [
        {p.name: p.read_bytes() for p in (tmp_path / name).iterdir() if p.name != "cost.json"}
        for name in ("straight", "killed")
    ]
    assert files[0] == files[1]


def test_a_gpu_prepares_the_training_images_once_for_many_shards(
    make_dataset_of: Callable[..., Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_copies, "SHARD_SIZE", 4)
    monkeypatch.setattr(near_copies, "_SHARDS_ON_GPU", 5)
    monkeypatch.setattr(format_, "SHARD_SIZE", 4)
    measure = TrainingDistances(make_dataset_of(random_images(60, 0), True), MEMORY)
    samples = store_of(tmp_path / "part", random_images(50, 1))
    searched: list[int] = []

    def search(some: FeatureRows, *arguments: Any, **named: Any) -> Neighbours:
        searched.append(some.shape[0])
        return nearest_neighbours(some, *arguments, **named)

    monkeypatch.setattr(near_copies, "nearest_neighbours", search)
    monkeypatch.setattr(near_copies, "write_cost", lambda *_: None)  # asks the GPU for its memory
    for device in ("cpu", "cuda"):
        monkeypatch.setattr(near_copies, "uses_gpu", lambda device=device: device == "cuda")
        measure.measure(samples, tmp_path / device)
    assert searched == [4] * 12 + [2] + [20, 20, 10]
    files = [
        {p.name: p.read_bytes() for p in (tmp_path / device).iterdir()}
        for device in ("cpu", "cuda")
    ]
    assert files[0] == files[1]


def test_samples_of_another_shape_are_refused(
    make_dataset_of: Callable[..., Dataset], tmp_path: Path
) -> None:
    dataset = make_dataset_of(random_images(60, 0), True)
    samples = make_store(tmp_path / "part", 5)
    with pytest.raises(
        UserError,
        match=r"part has images of shape \(8, 8, 3\), but .*dataset has \(3, 4, 1\); use the",
    ):
        TrainingDistances(dataset, MEMORY).measure(samples, tmp_path / "out")


def test_the_verb_writes_distances(make_dataset_of: Callable[..., Dataset], tmp_path: Path) -> None:
    dataset = make_dataset_of(random_images(60, 0), True)
    samples = store_of(tmp_path / "part", random_images(40, 1))
    run_verb("distances", samples=samples.path, dataset=dataset.path, output=tmp_path / "out")
    found = DistanceStore.open(tmp_path / "out")
    train_sha256 = dataset.train.sha256
    assert found.provenance == {
        "samples_sha256": samples.sha256, "train_sha256": train_sha256, "mirrored": True,
    }  # fmt: skip


def test_another_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "distances.json").write_text('{"format": "other"}')
    with pytest.raises(
        UserError,
        match=r"distances\.json is not an index of distances; run 'pyrobust distances' to",
    ):
        DistanceStore.open(tmp_path)

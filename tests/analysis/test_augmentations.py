from pathlib import Path

import numpy as np
import pytest

from pyrobust.analysis.augmentations import AUGMENTATIONS, augment_store
from pyrobust.analysis.complementarity_and_coverage import (
    complementarity,
    coverage,
    find_neighbours,
)
from pyrobust.data.store import SampleStore
from pyrobust.errors import UserError
from tests.analysis.making import make_store, run_verb


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_image_keeps_its_place_and_label(name: str, tmp_path: Path) -> None:
    source = make_store(tmp_path / "source", 60)
    augment_store(source, tmp_path / "out", name, seed=0)
    found = SampleStore.open(tmp_path / "out")
    np.testing.assert_array_equal(found.labels(), source.labels())
    assert found.images().shape == source.images().shape
    assert (found.images() != source.images()).any()


@pytest.mark.parametrize("name", ["mixup", "cutmix", "cutout"])
def test_an_augmented_set_lies_near_the_training_set(name: str, tmp_path: Path) -> None:
    """Table 5: augmented images are too close to the training set and far from the test set."""
    train, test = (make_store(tmp_path / str(seed), 200, seed) for seed in range(2))
    augment_store(train, tmp_path / "out", name, seed=0)
    points = [
        store.images().reshape(200, -1).astype(np.float32)
        for store in (train, test, SampleStore.open(tmp_path / "out"))
    ]
    found = find_neighbours(*points, memory_bytes=1 << 30)
    assert complementarity(found.closest)["train"] > 0.9
    assert coverage(found.by_set["train"], 200) > 0.9


def test_mixup_lies_between_its_image_and_another(tmp_path: Path) -> None:
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    means = [
        AUGMENTATIONS["mixup"](black, white, np.random.default_rng(seed)).mean()
        for seed in range(200)
    ]
    assert 0 == min(means) < max(means) <= 128


def test_an_image_depends_on_seed_and_row_alone(tmp_path: Path) -> None:
    source = make_store(tmp_path / "source", 60)
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        augment_store(source, tmp_path / folder, "cutmix", seed)
    a, b, c = (SampleStore.open(tmp_path / folder).images() for folder in "abc")
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


@pytest.mark.parametrize(
    ("name", "channels", "message"),
    [
        ("blur", 3, "unknown augmentation 'blur'; choose one of: crop_flip, cutout, mixup, cutmix"),
        ("auto_augment", 1, "source has images with 1 channels, but auto_augment requires 3"),
    ],
)
def test_what_cannot_be_applied_is_refused(
    name: str, channels: int, message: str, tmp_path: Path
) -> None:
    source = make_store(tmp_path / "source", 5, image_shape=(8, 8, channels))
    with pytest.raises(UserError, match=message):
        augment_store(source, tmp_path / "out", name, seed=0)
    assert not (tmp_path / "out").exists()


def test_the_verb_writes_a_store(tmp_path: Path) -> None:
    make_store(tmp_path / "source", 20)
    run_verb("augment", store=tmp_path / "source", augmentation="mixup", output=tmp_path / "out")
    assert SampleStore.open(tmp_path / "out").count == 20

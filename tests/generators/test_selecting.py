"""Selection: which samples are kept, in which order, and the same ones for any parts."""

import numpy as np
import pytest

from pyrobust.data.distances import DistanceStore
from pyrobust.data.labels import LabelStore
from pyrobust.data.store import SampleStore
from pyrobust.errors import UserError
from pyrobust.generators.registry import load_generator
from tests.generators.fits import contents

PROTOCOLS = [
    {"protocol": "until_full"},
    {"protocol": "until_full", "min_score": 0.5, "oversampling": 2},
    {"protocol": "top_k", "oversampling": 8},
    {"protocol": "top_k", "oversampling": 8, "label_source": "condition"},
    {"protocol": "until_full", "min_distance": 0.07, "min_score": 0.4, "oversampling": 2},
    {"protocol": "top_k", "oversampling": 8, "min_distance": 0.07},
    {"protocol": "first", "min_score": 0.5, "oversampling": 1},
]
PROTOCOL_NAMES = ["until_full", "min_score", "top_k", "condition", "far", "best_far", "first"]


@pytest.mark.parametrize("values", PROTOCOLS, ids=PROTOCOL_NAMES)
def test_selection_is_the_same_for_any_parts(make_parts, select, values):
    results = [
        contents(select(make_parts(num_parts, size, True), num_parts, 90, f"{num_parts}", **values))
        for num_parts, size in ((0, 1), (2, 113), (1, 900))
    ]
    assert results[0] == results[1] == results[2]


def test_selection_is_the_same_whether_images_are_sorted_into_blocks_or_not(
    make_parts, select, monkeypatch
):
    monkeypatch.setattr("pyrobust.data.store._SHARD_BYTES", 12 * 7)
    results = []
    for size in (1, 12 * 7 * 2, 12 * 1000):
        monkeypatch.setattr("pyrobust.data.shuffling._BLOCK_BYTES", size)
        results.append(contents(select(make_parts(2, 113), 2, 90, str(size))))
    assert results[0] == results[1] == results[2]
    assert {name.split("-")[0] for name in results[0] if name.endswith(".npy")} == {
        "images", "labels", "scores", "ids",
    }  # fmt: skip


@pytest.mark.parametrize("values", PROTOCOLS, ids=PROTOCOL_NAMES)
def test_selection_agrees_with_a_plain_loop(make_parts, select, gaussian, values):
    folder = make_parts(1, 900, True)
    store = SampleStore.open(select(folder, 1, 91, **values))
    pool = LabelStore.open(folder / "labels" / "0")
    distances = DistanceStore.open(folder / "distances" / "0").distances()
    labels, scores = pool.labels(), pool.scores()
    if "label_source" in values:
        labels, scores = np.arange(900) % 3, pool.condition_scores()
    order = range(900)
    if values["protocol"] == "top_k":
        order = sorted(range(91 * 8), key=lambda k: (-scores[k], k))
    kept, left = [], {0: 31, 1: 30, 2: 30}
    groups = labels
    if values["protocol"] == "first":
        groups, left = np.zeros(900, int), {0: 91}
    for k in order:
        is_far = distances[k] >= values.get("min_distance", 0)
        if left[groups[k]] and scores[k] >= values.get("min_score", 0) and is_far:
            left[groups[k]] -= 1
            kept.append(k)
    images = load_generator(gaussian).sample(np.array(kept), 0).images
    expected = sorted(
        (image.tobytes(), labels[k], scores[k]) for image, k in zip(images, kept, strict=True)
    )
    again = load_generator(gaussian).sample(store.ids(np.arange(91)), 0).images
    np.testing.assert_array_equal(again, store.images())
    rows = zip(store.images(), store.labels(), store.scores(), strict=True)
    found = [(image.tobytes(), label, score) for image, label, score in rows]
    assert sorted(found) == expected
    assert found != expected


def test_classes_are_shuffled_by_the_seed(make_parts, select):
    folder = make_parts(1, 900)
    one, other = (
        SampleStore.open(select(folder, 1, 90, f"seed{seed}", seed=seed)).labels()
        for seed in (0, 1)
    )
    assert sorted(one) == sorted(other)
    assert (one != other).any()
    assert (np.diff(one) != 0).mean() > 0.4


def test_provenance_states_what_was_sampled_and_kept(make_parts, select):
    store = SampleStore.open(select(make_parts(1, 900), 1, 91))
    provenance = store.provenance
    assert provenance["kept"]["class_counts"] == {"ant": 31, "bee": 30, "cow": 30}
    assert provenance["kept"]["count"] == 91
    assert 91 <= provenance["sampled"]["count"] < 900
    assert sum(provenance["sampled"]["class_counts"].values()) == provenance["sampled"]["count"]
    assert provenance["kept"]["mean_score"] == pytest.approx(store.scores().mean(), rel=1e-6)


def test_near_copies_are_counted_and_never_kept(make_parts, select, measure):
    folder = make_parts(1, 900, True)
    store = SampleStore.open(select(folder, 1, 90, min_distance=0.07))
    sampled = store.provenance["sampled"]["count"]
    distances = DistanceStore.open(folder / "distances" / "0").distances()[:sampled]
    assert store.provenance["near_copies"] == (distances < np.float32(0.07)).sum()
    assert 0 < store.provenance["near_copies"] < sampled - 90 + 1
    assert store.provenance["distances"] == measure.source
    measure.measure(store, folder / "again")
    assert DistanceStore.open(folder / "again").distances().min() >= np.float32(0.07)


def test_without_a_least_distance_none_is_asked_for(make_parts, select):
    store = SampleStore.open(select(make_parts(1, 900), 1, 90))
    assert store.provenance["near_copies"] is None
    assert store.provenance["distances"] is None


def test_too_few_samples_of_the_least_score_are_refused(make_parts, select):
    with pytest.raises(UserError, match=r"of the first 180 samples have the least score"):
        select(make_parts(1, 900), 1, 90, protocol="first", min_score=1.0, max_oversampling=2)


def test_a_selection_that_skips_parts_shares_no_image_with_one_that_does_not(
    gaussian, make_parts, select
):
    part_size = load_generator(gaussian).spec.settings.part_size
    empty = make_parts(0, part_size)
    seen = SampleStore.open(select(empty, 0, 60)).images().reshape(60, -1)
    unseen = (
        SampleStore.open(select(empty, 0, 60, "unseen", skip_samples=part_size))
        .images()
        .reshape(60, -1)
    )
    assert not set(map(bytes, seen)) & set(map(bytes, unseen))


def test_parts_behind_the_skipped_ones_are_those_that_are_read(gaussian, make_parts, select):
    size = load_generator(gaussian).spec.settings.part_size
    parts = make_parts(2, size)
    read = select(parts, 1, 60, "read", skip_samples=size)
    drawn = select(make_parts(0, size), 0, 60, "drawn", skip_samples=size)
    assert contents(read) == contents(drawn)

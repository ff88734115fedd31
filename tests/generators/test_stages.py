"""Sampling, labelling and selecting: the same bytes however the work is cut or killed."""

import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from pyrobust.analysis.near_copies import TrainingDistances
from pyrobust.config import parse_settings
from pyrobust.config.data import SelectionSettings
from pyrobust.config.generators import GeneratorSettings
from pyrobust.data.distances import DistanceStore
from pyrobust.data.labels import LabelStore
from pyrobust.data.store import SampleStore
from pyrobust.errors import UserError
from pyrobust.files import read_json
from pyrobust.generators.fitting import fit_generator
from pyrobust.generators.pseudo_labels import label_part
from pyrobust.generators.registry import load_generator
from pyrobust.generators.sampling import sample_part
from pyrobust.generators.selecting import select_parts
from pyrobust.models import ModelSpec, build_model, load_model, save_model
from tests.generators.fits import RUNTIME

COST = "cost.json"


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != COST)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def measure(animals):
    """Return what measures the distances to the training images."""
    return TrainingDistances(animals, 1 << 30)


@pytest.fixture
def make_parts(gaussian, labeller, measure, tmp_path):
    """Return a function that makes `num_parts` parts, labelled and measured, in a folder."""

    def make(num_parts: int, part_size: int, distances: bool = False) -> Path:
        folder = tmp_path / f"{num_parts}x{part_size}"
        for part in range(num_parts):
            samples, labels = folder / "parts" / str(part), folder / "labels" / str(part)
            sample_part(gaussian, part, part_size, samples)
            label_part(samples, labeller, labels, "cpu")
            if distances:
                output = folder / "distances" / str(part)
                measure.measure(SampleStore.open(samples), output)
        return folder

    return make


@pytest.fixture
def select(gaussian, labeller, measure, tmp_path):
    """Return a function that selects from parts and returns the folder of the result."""

    def run(folder: Path, num_parts: int, num_samples: int, name: str = "out", **values) -> Path:
        settings = parse_settings(SelectionSettings, values)
        parts, labels, output = folder / "parts", folder / "labels", tmp_path / name
        distances = (folder / "distances", measure) if settings.min_distance else ()
        inputs = (parts, labels, num_parts, num_samples, output, settings, "cpu", *distances)
        select_parts(gaussian, labeller, *inputs)
        return output

    return run


def test_parts_are_consecutive_ids_of_one_generator(gaussian, tmp_path):
    generator = load_generator(gaussian)
    whole = generator.sample(np.arange(500), generator.spec.settings.seed).images
    for part, (first, last) in enumerate([(0, 170), (170, 340), (340, 500)]):
        sample_part(gaussian, part, 170, tmp_path / str(part), count=500)
        store = SampleStore.open(tmp_path / str(part))
        assert (store.first_id, store.count) == (first, last - first)
        assert store.labels().tolist() == [k % 3 for k in range(first, last)]
        np.testing.assert_array_equal(store.images(), whole[first:last])
        assert store.provenance == generator.provenance()


def test_time_and_bytes_are_told_before_anything_is_written(gaussian, tmp_path, caplog):
    with caplog.at_level("INFO"):
        sample_part(gaussian, 0, 1200, tmp_path / "part")
    told = [line for line in caplog.messages if "are free" in line or "will take" in line]
    assert "needs 14.4 kB" in told[0]
    assert told[1].startswith("sampling 1,200 images will take about 0:0")
    caplog.clear()
    with caplog.at_level("INFO"):
        sample_part(gaussian, 0, 1200, tmp_path / "part")
    assert not any("will take" in line for line in caplog.messages)


def test_a_part_beyond_the_count_is_refused(gaussian, tmp_path):
    with pytest.raises(UserError, match="part 3 of 170 samples starts at id 510, expected below 5"):
        sample_part(gaussian, 3, 170, tmp_path / "part", count=500)


def test_a_full_disk_is_refused_before_anything_is_written(gaussian, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=5000))
    with pytest.raises(
        UserError,
        match=r"a part of 500 samples needs .* kB in .*, but only 5 kB are free; use another disk",
    ):
        sample_part(gaussian, 0, 500, tmp_path / "part")
    assert not (tmp_path / "part").exists()


def test_labels_are_the_largest_logit_and_its_softmax(gaussian, labeller, tmp_path):
    sample_part(gaussian, 0, 300, tmp_path / "part")
    label_part(tmp_path / "part", labeller, tmp_path / "labels", "cpu")
    found = LabelStore.open(tmp_path / "labels")
    images = SampleStore.open(tmp_path / "part").images()
    model, _ = load_model(labeller / "model.safetensors", "cpu")
    with torch.inference_mode():
        x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        probs = model(x).softmax(dim=1).numpy()
    np.testing.assert_array_equal(found.labels(), probs.argmax(axis=1))
    np.testing.assert_allclose(found.scores(), probs.max(axis=1), rtol=1e-4)
    asked = probs[np.arange(300), np.arange(300) % 3]
    np.testing.assert_allclose(found.condition_scores(), asked, rtol=1e-4)
    assert len(np.unique(found.labels())) == 3


def test_labels_do_not_depend_on_the_parts(make_parts):
    whole, cut = make_parts(1, 600), make_parts(4, 150)
    labels = [LabelStore.open(cut / "labels" / str(part)) for part in range(4)]
    one = LabelStore.open(whole / "labels" / "0")
    assert [store.first_id for store in labels] == [0, 150, 300, 450]
    np.testing.assert_array_equal(np.concatenate([s.labels() for s in labels]), one.labels())
    np.testing.assert_array_equal(np.concatenate([s.scores() for s in labels]), one.scores())


def test_a_labeller_of_other_images_is_refused(gaussian, make_animals, tmp_path):
    spec = ModelSpec("wrn-10-1", "silu", 10, (32, 32, 3), (0.5,) * 3, (0.2,) * 3)
    save_model(tmp_path / "labeller/model.safetensors", build_model(spec), spec)
    sample_part(gaussian, 0, 30, tmp_path / "part")
    with pytest.raises(
        UserError,
        match=r"model\.safetensors takes images of shape \(32, 32, 3\) and has 10 classes",
    ):
        label_part(tmp_path / "part", tmp_path / "labeller", tmp_path / "labels", "cpu")


PROTOCOLS = [
    {"protocol": "until_full"},
    {"protocol": "until_full", "min_score": 0.5, "oversampling": 2},
    {"protocol": "top_k", "oversampling": 8},
    {"protocol": "top_k", "oversampling": 8, "label_source": "condition"},
    {"protocol": "until_full", "min_distance": 0.07, "min_score": 0.4, "oversampling": 2},
    {"protocol": "top_k", "oversampling": 8, "min_distance": 0.07},
]
PROTOCOL_NAMES = ["until_full", "min_score", "top_k", "condition", "far", "best_far"]


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
    for k in order:
        is_far = distances[k] >= values.get("min_distance", 0)
        if left[labels[k]] and scores[k] >= values.get("min_score", 0) and is_far:
            left[labels[k]] -= 1
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


def test_provenance_tells_what_was_sampled_and_kept(make_parts, select):
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


def test_a_least_distance_without_distances_is_refused(make_parts, gaussian, labeller, tmp_path):
    folder = make_parts(1, 120)
    settings = SelectionSettings(min_distance=0.1)
    inputs = (folder / "parts", folder / "labels", 1, 30, tmp_path / "out", settings, "cpu")
    with pytest.raises(
        UserError,
        match=r"min_distance is 0\.1, which requires --distances \(the folder that 'pyrobust",
    ):
        select_parts(gaussian, labeller, *inputs)


def test_distances_of_other_samples_are_refused(make_parts, select, gaussian, labeller):
    folder = make_parts(1, 120, True)
    sample_part(gaussian, 0, 121, folder / "parts" / "0")
    label_part(folder / "parts" / "0", labeller, folder / "labels" / "0", "cpu")
    with pytest.raises(
        UserError,
        match="belongs to other samples or other training images; run 'pyrobust distances'",
    ):
        select(folder, 1, 30, min_distance=0.1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"max_oversampling": 1.01},
            r"class '\w+' has \d+ of the 30 samples it needs among the 91 samples that "
            r"max_oversampling = 1\.01 allows: raise it \(--max-oversampling 2\.02\)",
        ),
        (
            {"protocol": "top_k", "oversampling": 1},
            r"class '\w+' has \d+ of the 30 samples it needs among the 90 samples that "
            r"oversampling = 1 allows: raise it \(--oversampling 2\), or lower num_samples",
        ),
        (
            {"min_score": 1.0, "max_oversampling": 2},
            r"has 0 of the 30 samples it needs with a score of 1 or more among the 180",
        ),
        (
            {"min_score": 0.4, "min_distance": 0.9, "max_oversampling": 2},
            r"needs with a score of 0\.4 or more and a distance of 0\.9 or more among the 180",
        ),
    ],
)
def test_a_class_that_stays_short_is_named(make_parts, select, values, message):
    with pytest.raises(UserError, match=message):
        select(make_parts(1, 120, True), 1, 90, **values)


def test_parts_of_another_generator_are_refused(make_parts, select, animals, gaussian, tmp_path):
    folder = make_parts(1, 120)
    fit_generator(animals.path, tmp_path / "other", GeneratorSettings(jitter=1e-2), RUNTIME)
    sample_part(tmp_path / "other", 0, 120, folder / "parts" / "0")
    with pytest.raises(
        UserError,
        match="was sampled from another generator or seed; run 'pyrobust sample' again to",
    ):
        select(folder, 1, 30)


def test_labels_of_other_samples_are_refused(make_parts, select, gaussian):
    folder = make_parts(1, 120)
    sample_part(gaussian, 0, 121, folder / "parts" / "0")
    with pytest.raises(
        UserError,
        match="labels other samples, or was made by another labeller; run 'pyrobust label'",
    ):
        select(folder, 1, 30)


def test_a_gap_between_parts_is_refused(make_parts, select, gaussian, labeller):
    folder = make_parts(1, 120)
    sample_part(gaussian, 1, 121, folder / "parts" / "1")
    label_part(folder / "parts" / "1", labeller, folder / "labels" / "1", "cpu")
    with pytest.raises(
        UserError,
        match="starts at id 121 instead of 120; sample all parts with the same --part-size",
    ):
        select(folder, 2, 30)


def test_a_missing_part_is_named(make_parts, select):
    with pytest.raises(UserError, match=r"parts/1/manifest\.json is missing"):
        select(make_parts(1, 120), 2, 30)


class Killed(BaseException):
    pass


def kill_at_rename(patch, number):
    left = [number]
    rename = Path.replace

    def replace(self, target):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return rename(self, target)

    patch.setattr(Path, "replace", replace)


@pytest.mark.parametrize("kill", [0, 1, 3, 5, 8, 13, 17, 20, 23, 26])
def test_killed_stages_go_on_to_the_same_bytes(gaussian, labeller, tmp_path, monkeypatch, kill):
    monkeypatch.setattr("pyrobust.data.store._SHARD_BYTES", 12 * 100)
    monkeypatch.setattr("pyrobust.data.shuffling._BLOCK_BYTES", 1)
    monkeypatch.setattr("pyrobust.data.labels._SHARD_SIZE", 100)
    settings = SelectionSettings()

    def run(folder):
        sample_part(gaussian, 0, 250, folder / "parts/0")
        label_part(folder / "parts/0", labeller, folder / "labels/0", "cpu")
        inputs = (folder / "parts", folder / "labels", 1, 150, folder / "out", settings)
        select_parts(gaussian, labeller, *inputs, "cpu")

    run(tmp_path / "straight")
    for attempt in range(3):
        with monkeypatch.context() as patch:
            kill_at_rename(patch, kill + attempt)
            with suppress(Killed):
                run(tmp_path / "killed")
    run(tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "straight")


def test_a_finished_selection_is_not_done_again(make_parts, select):
    folder = make_parts(1, 900)
    output = select(folder, 1, 90)
    shutil.rmtree(folder)
    before = contents(output)
    assert select(folder, 1, 90) == output
    assert contents(output) == before
    assert read_json(output / "manifest.json", "")["count"] == 90


def test_the_rate_of_a_selection_is_that_of_the_images_of_its_last_run(
    make_parts, select, monkeypatch
):
    monkeypatch.setattr("pyrobust.data.store._SHARD_BYTES", 12 * 10)
    folder = make_parts(1, 900)
    output = select(folder, 1, 90)
    for lost in (30, 0):
        if lost:
            (output / "images-00006.npy").unlink()
        select(folder, 1, 90)
        cost = read_json(output / COST, "")
        assert cost["seconds"] * cost["images_per_second"] == pytest.approx(30, rel=0.3)


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

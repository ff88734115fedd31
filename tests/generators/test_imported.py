"""Published samples in place of a generator."""

from itertools import pairwise

import numpy as np
import pytest

from pyrobust.config import parse_settings
from pyrobust.config.data import SelectionSettings
from pyrobust.config.generators import GeneratorSettings
from pyrobust.data import shard_writer, shuffling
from pyrobust.data.npz import write_npz
from pyrobust.data.permutation import permute
from pyrobust.data.store import SampleStore
from pyrobust.errors import UserError
from pyrobust.files import sha256_of
from pyrobust.generators.fitting import fit_generator
from pyrobust.generators.registry import load_generator
from pyrobust.generators.sampling import sample_part
from pyrobust.generators.selecting import select_parts
from tests.generators.fits import RUNTIME
from tests.kills import Killed
from tests.memory import peak_bytes


def published(folder, images, labels, cut=(0, 70, 200)):
    folder.mkdir()
    for number, (first, last) in enumerate(pairwise(cut)):
        save = np.savez_compressed if number else np.savez
        save(folder / f"part{number}.npz", image=images[first:last], label=labels[first:last])


@pytest.fixture
def samples():
    rng = np.random.default_rng(5)
    return rng.integers(0, 256, (200, 3, 4, 1), dtype=np.uint8), np.sort(rng.integers(0, 3, 200))


def settings_of(folder, **values):
    return parse_settings(GeneratorSettings, {"type": "imported", "path": str(folder), **values})


def test_imported_images_are_those_of_the_files_shuffled_over_classes(animals, samples, tmp_path):
    published(tmp_path / "files", *samples)
    fit_generator(animals.path, tmp_path / "generator", settings_of(tmp_path / "files"), RUNTIME)
    generator = load_generator(tmp_path / "generator")
    assert (generator.count, generator.conditional) == (200, True)
    drawn = generator.sample(np.arange(200), seed=0)
    rows = zip(*samples, strict=True)
    expected = sorted((image.tobytes(), label) for image, label in rows)
    found = zip(drawn.images, drawn.conditions, strict=True)
    assert sorted((image.tobytes(), label) for image, label in found) == expected
    assert (np.diff(drawn.conditions) != 0).mean() > 0.5
    assert {path.name for path in (tmp_path / "generator").iterdir()} == {
        ".lock",
        "generator.json",
        "fitted.json",
        "samples",
        "cost.json",
    }


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "classes.txt",
            "ant\ncow\nbee\n",
            "class 1 of .*classes.txt is cow, but bee in",
        ),
        ("classes.txt", "ant\nbee\n", "class 2 of .*classes.txt is None, but cow in"),
        (
            "SHA256SUMS",
            f"{'0' * 64}  part0.npz\n",
            f"part0.npz has SHA-256 .*, but .*SHA256SUMS .*{'0' * 64}",
        ),
        ("SHA256SUMS", "", "part0.npz is not listed in .*SHA256SUMS"),
        ("more.zip", "", "more.zip is neither an .npz file nor a known file without data"),
    ],
)
def test_files_that_are_not_what_their_folder_says_are_refused(
    animals, samples, tmp_path, name, text, message
):
    published(tmp_path / "files", *samples)
    (tmp_path / "files" / name).write_text(text)
    with pytest.raises(UserError, match=message):
        fit_generator(animals.path, tmp_path / "out", settings_of(tmp_path / "files"), RUNTIME)


@pytest.mark.parametrize(
    "line",
    [
        "{hash} *{name}\n",
        "{hash}  ./{name}\n",
        "{hash}  /home/them/samples/{name}\r\n",
        "SHA256 ({name}) = {hash}\n",
    ],
)
def test_files_that_are_what_their_folder_says_are_imported(line, animals, samples, tmp_path):
    files = tmp_path / "files"
    published(files, *samples)
    (files / "classes.txt").write_text("ant\nbee\ncow\n")
    (files / "._part0.npz").write_bytes(b"of macOS")
    sums = "".join(
        line.format(hash=sha256_of(file), name=file.name) for file in sorted(files.glob("p*.npz"))
    )
    (files / "SHA256SUMS").write_text(sums)
    fit_generator(animals.path, tmp_path / "out", settings_of(files), RUNTIME)
    assert load_generator(tmp_path / "out").count == 200


def test_the_order_is_that_of_the_seed_and_not_of_the_cut_into_files(animals, samples, tmp_path):
    images = []
    for name, cut, seed in (("a", (0, 200), 0), ("b", (0, 3, 9, 200), 0), ("c", (0, 200), 1)):
        published(tmp_path / name, *samples, cut)
        fit_generator(
            animals.path, tmp_path / f"g{name}", settings_of(tmp_path / name, seed=seed), RUNTIME
        )
        images.append(load_generator(tmp_path / f"g{name}").sample(np.arange(200), 0).images)
    np.testing.assert_array_equal(images[0], images[1])
    assert (images[0] != images[2]).any()


@pytest.mark.parametrize(("blocks", "most"), [(1, 40e6), (8, 100e6)])
def test_an_import_holds_few_images_at_a_time(tmp_path, blocks, most):
    images = np.zeros((12_000, 64, 64, 3), np.uint8)
    np.savez(tmp_path / "part.npz", image=images, label=np.zeros(12_000, np.int64))
    setup = f"""
from pathlib import Path
from pyrobust.data import importing, shuffling, store
shuffling._BLOCK_BYTES, store._SHARD_BYTES = {blocks} << 22, 1 << 22
folder = Path({str(tmp_path)!r})
files = [folder / "part.npz"]
"""
    work = 'importing.import_npz(files, (64, 64, 3), ("a",), folder / "out", 0, "a test")'
    # The images have 147 MB, a shard 4 MB, and 100 MB are not three of the larger blocks.
    assert peak_bytes(setup, work) < most


def test_an_import_reads_no_image_at_random(animals, samples, tmp_path, monkeypatch):
    monkeypatch.setattr("pyrobust.data.store._SHARD_BYTES", 12 * 8)
    monkeypatch.setattr("pyrobust.data.shuffling._BLOCK_BYTES", 12 * 16)
    published(tmp_path / "files", *samples)
    monkeypatch.setattr(SampleStore, "gather", lambda *_: pytest.fail("files are read in order"))
    fit_generator(animals.path, tmp_path / "out", settings_of(tmp_path / "files"), RUNTIME)
    store = SampleStore.open(tmp_path / "out/samples")
    np.testing.assert_array_equal(store.images(), samples[0][permute(np.arange(200), 200, 0)])
    np.testing.assert_array_equal(store.labels(), samples[1][permute(np.arange(200), 200, 0)])
    assert not (store.path / "blocks").exists()


@pytest.mark.parametrize("kill", [0, 2, 4, 7, 8])
def test_a_killed_import_resumes_to_the_same_samples(animals, samples, tmp_path, monkeypatch, kill):
    monkeypatch.setattr("pyrobust.data.store._SHARD_BYTES", 12 * 64)
    monkeypatch.setattr("pyrobust.data.shuffling._BLOCK_BYTES", 1)
    published(tmp_path / "files", *samples)
    fit_generator(animals.path, tmp_path / "straight", settings_of(tmp_path / "files"), RUNTIME)
    with monkeypatch.context() as patch:
        left = [kill]

        def write_json(path, value):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            original(path, value)

        original = shard_writer.write_json
        for module in (shuffling, shard_writer):
            patch.setattr(module, "write_json", write_json)
        with pytest.raises(Killed):
            fit_generator(
                animals.path, tmp_path / "killed", settings_of(tmp_path / "files"), RUNTIME
            )
    fit_generator(animals.path, tmp_path / "killed", settings_of(tmp_path / "files"), RUNTIME)
    manifests = [tmp_path / name / "samples/manifest.json" for name in ("straight", "killed")]
    assert manifests[0].read_bytes() == manifests[1].read_bytes()
    SampleStore.open(manifests[1].parent).verify()


def test_changed_files_are_imported_again_and_unchanged_ones_are_not(animals, samples, tmp_path):
    published(tmp_path / "files", *samples)
    settings = settings_of(tmp_path / "files")
    fit_generator(animals.path, tmp_path / "generator", settings, RUNTIME)
    manifest = tmp_path / "generator/samples/manifest.json"
    before = manifest.stat().st_mtime_ns
    fit_generator(animals.path, tmp_path / "generator", settings, RUNTIME)
    assert manifest.stat().st_mtime_ns == before
    np.savez(tmp_path / "files/part9.npz", image=samples[0][:9], label=samples[1][:9])
    fit_generator(animals.path, tmp_path / "generator", settings, RUNTIME)
    assert load_generator(tmp_path / "generator").count == 209


def test_parts_end_where_the_samples_do(animals, samples, tmp_path):
    published(tmp_path / "files", *samples)
    fit_generator(animals.path, tmp_path / "generator", settings_of(tmp_path / "files"), RUNTIME)
    sample_part(tmp_path / "generator", 1, 150, tmp_path / "part")
    assert SampleStore.open(tmp_path / "part").count == 50
    sample_part(tmp_path / "generator", None, 150, tmp_path / "all")
    assert SampleStore.open(tmp_path / "all").count == 200
    with pytest.raises(UserError, match="part 2 of 150 samples starts at id 300, expected below 2"):
        sample_part(tmp_path / "generator", 2, 150, tmp_path / "part")


def test_published_labels_are_kept_by_condition(animals, samples, labeller, tmp_path):
    published(tmp_path / "files", *samples)
    fit_generator(animals.path, tmp_path / "generator", settings_of(tmp_path / "files"), RUNTIME)
    settings = SelectionSettings(label_source="condition")
    inputs = (tmp_path / "generator", labeller, tmp_path, tmp_path, 0)
    select_parts(*inputs, 90, tmp_path / "out", settings, "cpu")
    truth = {image.tobytes(): label for image, label in zip(*samples, strict=True)}
    store = SampleStore.open(tmp_path / "out")
    assert [truth[image.tobytes()] for image in store.images()] == store.labels().tolist()
    assert np.bincount(store.labels()).tolist() == [30, 30, 30]
    with pytest.raises(UserError, match="among the 200 samples that there are: lower num_samples"):
        select_parts(*inputs, 240, tmp_path / "more", settings, "cpu")


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (1, 0, 2)])
def test_labels_that_number_classes_in_another_order_are_refused(
    animals, labeller, tmp_path, order
):
    images, labels = animals.train.images(), animals.train.labels()
    published(tmp_path / "files", images, np.array(order)[labels], (0, len(images)))
    fit_generator(animals.path, tmp_path / "generator", settings_of(tmp_path / "files"), RUNTIME)
    inputs = (tmp_path / "generator", labeller, tmp_path, tmp_path, 0, 30)

    def select(source):
        settings = SelectionSettings(label_source=source, max_oversampling=9)
        select_parts(*inputs, tmp_path / source, settings, "cpu")

    select("labeller")
    if order == (0, 1, 2):
        select("condition")
        return
    with pytest.raises(
        UserError, match=r"in another order: the labeller .*\('ant' shows '(bee|cow)'"
    ):
        select("condition")


def test_an_export_replaces_no_file_of_a_store(animals):
    manifest = animals.train.path / "manifest.json"
    before = manifest.read_bytes()
    with pytest.raises(UserError, match=r"expected a name that ends in \.npz"):
        write_npz(animals.train, manifest)
    assert manifest.read_bytes() == before


def test_an_exported_store_comes_back(animals, tmp_path):
    (tmp_path / "files").mkdir()
    write_npz(animals.train, tmp_path / "files/export.npz")
    fit_generator(animals.path, tmp_path / "generator", settings_of(tmp_path / "files"), RUNTIME)
    drawn = load_generator(tmp_path / "generator").sample(np.arange(animals.train.count), 0)
    np.testing.assert_array_equal(
        np.sort(drawn.images.reshape(-1, 12), axis=0),
        np.sort(animals.train.images().reshape(-1, 12), axis=0),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda images, labels: (images[:, :2], labels),
            r"has images of shape \(2, 4, 1\), but",
        ),
        (
            lambda images, labels: (images, labels + 1),
            r"label 3 in row \d+ of .* is out of range",
        ),
    ],
)
def test_samples_of_another_data_set_are_refused(animals, samples, tmp_path, change, message):
    published(tmp_path / "files", *change(*samples))
    with pytest.raises(UserError, match=message):
        fit_generator(
            animals.path, tmp_path / "generator", settings_of(tmp_path / "files"), RUNTIME
        )


def test_an_empty_folder_is_named(animals, tmp_path):
    with pytest.raises(
        UserError, match=r"no \.npz file in .*files; put the published samples there"
    ):
        fit_generator(
            animals.path, tmp_path / "generator", settings_of(tmp_path / "files"), RUNTIME
        )


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"type": "imported"}, r"imported requires path, a folder of \.npz files"),
        ({"path": "somewhere"}, "path is 'somewhere', but type gaussian takes none"),
    ],
)
def test_a_path_belongs_to_imported_samples(values, sentence):
    with pytest.raises(UserError, match=sentence):
        parse_settings(GeneratorSettings, values)

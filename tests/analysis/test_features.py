import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from pyrobust.analysis.feature_extractors import Extractor, make_extractor
from pyrobust.analysis.features import extract_features
from pyrobust.config.analysis import FeatureSettings
from pyrobust.data import feature_set
from pyrobust.data.feature_set import FeatureSet
from pyrobust.errors import UserError
from pyrobust.files import read_json
from tests.analysis.making import make_features, make_store, run_verb

CPU = torch.device("cpu")


def mean_colour(batch_size: int = 16, fail_after: int | None = None) -> Extractor:
    """Return an extractor whose features are the means of the channels of an image."""
    calls = 0

    def compute(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal calls
        calls += 1
        if fail_after is not None and calls > fail_after:
            raise KeyboardInterrupt
        means = images.float().mean(dim=(2, 3))
        return means, means[:, :2]

    return Extractor("labeller", "0" * 64, batch_size, CPU, compute)


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.name != "cost.json"}


def test_all_images_of_several_stores_are_read_in_order(tmp_path: Path) -> None:
    stores = [make_store(tmp_path / str(seed), 50 + seed, seed) for seed in range(3)]
    extract_features(stores, mean_colour(), tmp_path / "out", FeatureSettings())
    found = FeatureSet.open(tmp_path / "out")
    images = np.concatenate([store.images() for store in stores])
    everything = np.arange(153)
    np.testing.assert_array_equal(found.store_rows(), everything)
    np.testing.assert_array_equal(
        found.labels(), np.concatenate([store.labels() for store in stores])
    )
    means = images.mean(axis=(1, 2))
    np.testing.assert_allclose(found.features(everything), means, rtol=1e-6)
    np.testing.assert_allclose(found.logits(everything), means[:, :2], rtol=1e-6)


def test_a_draw_has_the_features_that_its_images_have_in_the_whole(
    tmp_path: Path, labeller: Path
) -> None:
    store = make_store(tmp_path / "store", 300)
    extractor = make_extractor(FeatureSettings(), labeller, CPU)
    extract_features([store], extractor, tmp_path / "all", FeatureSettings())
    extract_features([store], extractor, tmp_path / "some", FeatureSettings(num_images=40))
    whole, drawn = (FeatureSet.open(tmp_path / name) for name in ("all", "some"))
    assert drawn.count == 40
    np.testing.assert_array_equal(drawn.features(np.arange(40)), whole.features(drawn.store_rows()))


def test_a_store_without_labels_is_not_an_obstacle(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", 20, labelled=False)
    extract_features([store], mean_colour(), tmp_path / "out", FeatureSettings())
    with pytest.raises(UserError, match="have no labels"):
        FeatureSet.open(tmp_path / "out").labels()


def test_a_killed_run_resumes_to_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_set, "_SHARD_BYTES", 4 * 5 * 32)  # two batches of 16
    store = make_store(tmp_path / "store", 150)
    settings = FeatureSettings()
    extract_features([store], mean_colour(), tmp_path / "whole", settings)
    with pytest.raises(KeyboardInterrupt):
        extract_features([store], mean_colour(fail_after=6), tmp_path / "killed", settings)
    assert not (tmp_path / "killed" / "features.json").exists()
    again = mean_colour(fail_after=1 + 6)  # one for the width, and six of ten batches are left
    extract_features([store], again, tmp_path / "killed", settings)
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


def test_labels_take_no_more_bytes_than_they_are_asked_for(tmp_path: Path) -> None:
    count = 1_000_000
    labels = np.arange(count) % 2
    found = make_features(tmp_path, np.zeros((count, 1), np.float32), labels)
    tracemalloc.start()
    try:
        read = found.labels(np.uint8)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(read, labels)
    assert peak < 4 * count  # files are hashed by the megabyte


def test_features_that_are_there_keep_their_cost(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", 40)
    extract_features([store], mean_colour(), tmp_path / "out", FeatureSettings())
    cost = (tmp_path / "out/cost.json").read_bytes()
    extract_features([store], mean_colour(), tmp_path / "out", FeatureSettings())
    assert (tmp_path / "out/cost.json").read_bytes() == cost


def test_features_of_another_extractor_are_computed_again(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", 40)
    extract_features([store], mean_colour(), tmp_path / "out", FeatureSettings())
    other = Extractor("labeller", "1" * 64, 16, CPU, lambda x: (x.float().amax((2, 3)), None))
    extract_features([store], other, tmp_path / "out", FeatureSettings())
    found = FeatureSet.open(tmp_path / "out")
    assert found.num_logits == 0
    np.testing.assert_array_equal(
        found.features(np.arange(40)), store.images().max(axis=(1, 2)).astype(np.float32)
    )


def test_half_precision_halves_the_bytes_and_keeps_three_digits(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", 64)
    for dtype in ("float32", "float16"):
        extract_features([store], mean_colour(), tmp_path / dtype, FeatureSettings(dtype=dtype))
    whole, half = (FeatureSet.open(tmp_path / dtype) for dtype in ("float32", "float16"))
    everything = np.arange(64)
    assert half.features(everything).dtype == np.float32
    np.testing.assert_allclose(half.features(everything), whole.features(everything), rtol=2**-11)
    np.testing.assert_array_equal(half.logits(everything), whole.logits(everything))
    saved = np.load(tmp_path / "float16/features-00000.npy", allow_pickle=False)
    assert saved.dtype == np.float16
    index = read_json(tmp_path / "float16/features.json", "")
    assert (index["dtype"], index["extractor"]["name"]) == ("float16", "labeller")
    assert index["stores"] == [store.sha256]


def test_values_beyond_half_precision_are_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", 20)
    large = Extractor("labeller", "", 16, CPU, lambda x: (1e4 * x.float().mean((2, 3)), None))
    with pytest.raises(
        UserError,
        match=r"the labeller's features of image 0 reach 1\.32219e\+06, above float16's maximum",
    ):
        extract_features([store], large, tmp_path / "out", FeatureSettings(dtype="float16"))
    assert not (tmp_path / "out" / "features.json").exists()


def test_features_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", 20)
    broken = Extractor("labeller", "", 16, CPU, lambda x: (x.float().mean((2, 3)) / 0, None))
    with pytest.raises(
        UserError,
        match="the labeller's features of image 0 contain NaN or infinity; check that the",
    ):
        extract_features([store], broken, tmp_path / "out", FeatureSettings())
    assert not (tmp_path / "out" / "features.json").exists()


def test_stores_of_different_shapes_are_refused(tmp_path: Path) -> None:
    stores = [
        make_store(tmp_path / "a", 5), make_store(tmp_path / "b", 5, image_shape=(4, 4, 3))
    ]  # fmt: skip
    with pytest.raises(UserError, match=r"b has image_shape \(4, 4, 3\), but .*a has \(8, 8, 3\)"):
        extract_features(stores, mean_colour(), tmp_path / "out", FeatureSettings())


def test_the_verb_writes_features(tmp_path: Path, labeller: Path) -> None:
    make_store(tmp_path / "store", 30)
    run_verb(
        "features",
        store=tmp_path / "store",
        labeller=labeller,
        output=tmp_path / "out",
        num_images=20,
    )
    assert FeatureSet.open(tmp_path / "out").count == 20
    assert (tmp_path / "out" / "cost.json").is_file()

"""Mixtures of two stores: shares, classes, order."""

from pathlib import Path

import numpy as np
import pytest

from pyrobust.data.mixing import mix_stores
from pyrobust.data.store import SampleStore, StoreWriter
from pyrobust.errors import UserError
from pyrobust.files import read_json

NAMES = ("a", "b", "c")


def store(path: Path, count: int, grey: int, names: tuple[str, ...] = NAMES) -> Path:
    """Write `count` images of one grey value, with labels 0, 1, 2, 0, ..."""
    writer = StoreWriter(path, (2, 2, 1), names, count, {"grey": grey}, "a test")
    labels = np.arange(count) % len(names)
    writer.append(np.full((count, 2, 2, 1), grey, np.uint8), labels)
    writer.finish()
    return path


@pytest.mark.parametrize(
    ("share", "classes", "from_second"),
    [(0.0, None, 0), (0.25, None, 25), (1.0, None, 100), (0.1, 1, 10), (0.1, 0, 0)],
)
def test_a_mixture_holds_the_share_and_the_classes_that_were_asked_for(
    tmp_path: Path, share: float, classes: int | None, from_second: int
) -> None:
    first, second = store(tmp_path / "first", 100, 10), store(tmp_path / "second", 120, 20)
    mix_stores(first, second, share, classes, 100, tmp_path / "out", 0)
    mixture = SampleStore.open(tmp_path / "out")
    second_rows = mixture.images()[:, 0, 0, 0] == 20
    assert (mixture.count, second_rows.sum()) == (100, from_second)
    if classes is not None:
        assert (mixture.labels()[second_rows] < classes).all()


def test_the_order_is_shuffled_and_a_function_of_the_seed(tmp_path: Path) -> None:
    first, second = store(tmp_path / "first", 100, 10), store(tmp_path / "second", 100, 20)
    images = {}
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        mix_stores(first, second, 0.5, None, 100, tmp_path / name, seed)
        images[name] = SampleStore.open(tmp_path / name).images()
    assert (images["one"] == images["same"]).all()
    assert (images["one"] != images["other"]).any()
    assert 15 < (images["one"][:50, 0, 0, 0] == 20).sum() < 35


def test_the_rate_is_that_of_the_images_of_the_last_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyrobust.data.store._SHARD_BYTES", 4 * 10)
    first, second = store(tmp_path / "first", 100, 10), store(tmp_path / "second", 100, 20)
    mix_stores(first, second, 0.5, None, 100, tmp_path / "out", 0)
    (tmp_path / "out/images-00006.npy").unlink()
    mix_stores(first, second, 0.5, None, 100, tmp_path / "out", 0)
    cost = read_json(tmp_path / "out/cost.json", "")
    assert cost["seconds"] * cost["images_per_second"] == pytest.approx(40, rel=0.3)


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    first, second = store(tmp_path / "first", 100, 10), store(tmp_path / "second", 30, 20)
    with pytest.raises(
        UserError,
        match="second has only 10 suitable images, but 50 are needed; run 'a test' with a",
    ):
        mix_stores(first, second, 0.5, 1, 100, tmp_path / "out", 0)
    assert not (tmp_path / "out").exists()


def test_stores_of_other_classes_are_refused(tmp_path: Path) -> None:
    first, second = store(tmp_path / "1", 9, 10), store(tmp_path / "2", 9, 20, ("x", "y", "z"))
    with pytest.raises(UserError, match=r"class_names of .*2 is"):
        mix_stores(first, second, 0.5, None, 9, tmp_path / "out", 0)

"""Sampling: parts are consecutive ids of one generator, and a full disk is refused."""

import shutil

import numpy as np
import pytest

from pyrobust.data.store import SampleStore
from pyrobust.errors import UserError
from pyrobust.generators.registry import load_generator
from pyrobust.generators.sampling import sample_part


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


def test_without_a_part_all_images_are_drawn_at_once(gaussian, tmp_path):
    generator = load_generator(gaussian)
    sample_part(gaussian, None, 170, tmp_path / "all", count=500)
    whole = generator.sample(np.arange(500), generator.spec.settings.seed).images
    np.testing.assert_array_equal(SampleStore.open(tmp_path / "all").images(), whole)
    sample_part(gaussian, 1, None, tmp_path / "second", count=1003)
    store = SampleStore.open(tmp_path / "second")
    assert (store.first_id, store.count) == (1000, 3)  # of parts of the size in the settings


def test_time_and_bytes_are_reported_before_anything_is_written(gaussian, tmp_path, caplog):
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

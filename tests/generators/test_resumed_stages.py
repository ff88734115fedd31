"""Killed sampling, labelling and selecting resume to the same bytes; finished ones are kept."""

import shutil
from contextlib import suppress

import pytest

from pyrobust.config.data import SelectionSettings
from pyrobust.files import read_json
from pyrobust.generators.pseudo_labels import label_part
from pyrobust.generators.sampling import sample_part
from pyrobust.generators.selecting import select_parts
from tests.generators.fits import COST, contents
from tests.kills import Killed, kill_at_rename


@pytest.mark.parametrize("kill", [0, 1, 3, 5, 8, 13, 17, 20, 23, 26])
def test_killed_stages_resume_to_the_same_bytes(gaussian, labeller, tmp_path, monkeypatch, kill):
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

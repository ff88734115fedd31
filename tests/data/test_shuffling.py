"""Shuffling in two passes: the same rows for any block, read in order, after any kill."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from pyrobust.data.permutation import permute
from pyrobust.data.shuffling import ShuffledRows
from pyrobust.errors import UserError
from tests.kills import Killed

COUNT, SEED = 1000, 3
ROWS = np.random.default_rng(0).integers(0, 256, (COUNT, 2, 3), np.uint8)
SHUFFLED = ROWS[permute(np.arange(COUNT), COUNT, SEED)]


def shuffled(folder: Path, block_size: int, read=ROWS.__getitem__, name: str = "a") -> ShuffledRows:
    return ShuffledRows(folder / "blocks", read, (2, 3), COUNT, SEED, block_size, {"name": name})


def taken(rows: ShuffledRows, first: int = 0) -> np.ndarray:
    """Return all rows of the result from `first` on."""
    rows.distribute(first)
    blocks = []
    while first < COUNT:
        blocks.append(rows.take(first))
        first += len(blocks[-1])
    return np.concatenate(blocks)


@pytest.mark.parametrize("block_size", [1, 7, 100, 999, 1000, 5000])
def test_rows_come_in_the_order_of_the_permutation(tmp_path, block_size):
    np.testing.assert_array_equal(taken(shuffled(tmp_path, block_size)), SHUFFLED)


def test_rows_are_read_once_and_in_order(tmp_path):
    read = []
    taken(shuffled(tmp_path, 64, lambda rows: (read.extend(rows), ROWS[rows])[1]))
    assert read == list(range(COUNT))


def test_one_block_needs_no_file(tmp_path):
    taken(shuffled(tmp_path, COUNT))
    assert not list(tmp_path.iterdir())


def test_the_files_hold_what_was_not_taken_yet(tmp_path):
    rows = shuffled(tmp_path, 100)
    rows.distribute(0)
    for first in (0, 300, 900):
        rows.take(first)
        held = sum(path.stat().st_size for path in tmp_path.rglob("*.rows"))
        assert held == 6 * (COUNT - first)


@pytest.mark.parametrize("first", [0, 100, 130, 990])
def test_reading_continues_in_any_block(tmp_path, first):
    rows = shuffled(tmp_path, 100)
    rows.distribute(0)
    rows.take(first)
    again = shuffled(tmp_path, 100, lambda rows: pytest.fail("all rows are in their files"))
    np.testing.assert_array_equal(taken(again, first), SHUFFLED[first:])


@pytest.mark.parametrize("reads", [0, 1, 4, 9])
def test_a_killed_distribution_resumes_after_its_last_state(tmp_path, reads):
    read = []

    def killed(rows):
        if len(read) == reads:
            raise Killed
        read.append(rows)
        return ROWS[rows]

    with suppress(Killed):
        taken(shuffled(tmp_path, 100, killed))
    with (tmp_path / "blocks/3.rows").open("ab") as file:
        file.write(b"of a state that was not saved")
    later = []
    again = shuffled(tmp_path, 100, lambda rows: (later.extend(rows), ROWS[rows])[1])
    np.testing.assert_array_equal(taken(again), SHUFFLED)
    assert later[0] == 100 * reads


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    def read(rows):
        (tmp_path / "blocks/3.rows").mkdir(exist_ok=True)
        return ROWS[rows]

    with pytest.raises(UserError, match=r"cannot write .*blocks/3\.rows: \[Errno"):
        shuffled(tmp_path, 100, read).distribute(0)


@pytest.mark.parametrize("change", ["identity", "size", "missing", "state"])
def test_what_does_not_belong_is_dropped(tmp_path, change):
    shuffled(tmp_path, 100).distribute(0)
    blocks = tmp_path / "blocks"
    if change == "size":
        (blocks / "4.rows").write_bytes(b"short")
    elif change == "missing":
        (blocks / "4.rows").unlink()
    elif change == "state":
        (blocks / "state.json").write_text("{}")
    name = "b" if change == "identity" else "a"
    other = shuffled(tmp_path, 100, (255 - ROWS).__getitem__, name)
    np.testing.assert_array_equal(taken(other), 255 - SHUFFLED)


def test_a_changed_byte_is_reported_and_the_next_run_starts_from_scratch(tmp_path):
    rows = shuffled(tmp_path, 100)
    rows.distribute(0)
    path = tmp_path / "blocks/2.rows"
    values = bytearray(path.read_bytes())
    values[17] ^= 1
    path.write_bytes(values)
    with pytest.raises(
        UserError, match=r"2\.rows was damaged and has been removed; run the same command again"
    ):
        taken(rows)
    np.testing.assert_array_equal(taken(shuffled(tmp_path, 100), 100), SHUFFLED[100:])

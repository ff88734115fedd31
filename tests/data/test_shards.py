"""Shards: what is written is read, whatever is killed, torn or flipped in between."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyrobust.data.shard_writer import ShardWriter
from pyrobust.data.shards import Column, ShardReader, read_index, shard_path
from pyrobust.errors import UserError
from pyrobust.files import read_json, write_json
from tests.kills import Killed, kill_at_rename

COLUMNS = {"images": Column("uint8", (2, 1)), "labels": Column("int64")}
IDENTITY = {"seed": 0}


def rows_of(first: int, last: int) -> dict[str, np.ndarray]:
    index = np.arange(first, last)
    return {
        "images": (index[:, None, None] * [[[3], [5]]] % 251).astype(np.uint8),
        "labels": index,
    }


def writer_of(folder: Path, total: int, shard_size: int, seed: int = 0) -> ShardWriter:
    return ShardWriter(folder, "index.json", COLUMNS, total, shard_size, {"seed": seed})


def write(folder: Path, total: int, shard_size: int, step: int, seed: int = 0) -> int:
    """Write all rows, `step` at a time, and return how many were there already."""
    writer = writer_of(folder, total, shard_size, seed)
    found = writer.count
    for first in range(found, total, step):
        writer.append(**rows_of(first, min(first + step, total)))
    writer.finish({"note": "whole"})
    return found


def read(folder: Path) -> ShardReader:
    return ShardReader(
        folder, COLUMNS, read_json(folder / "index.json", "")["shards"], "the writer"
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize(
    ("total", "shard_size", "step", "shard_counts"),
    [
        (0, 4, 1, []),
        (1, 4, 1, [1]),
        (4, 4, 4, [4]),
        (5, 4, 2, [4, 1]),
        (9, 3, 7, [3, 3, 3]),
        (6, 100, 6, [6]),
    ],
)
def test_rows_come_back_in_order_from_shards_of_equal_size(
    tmp_path, total, shard_size, step, shard_counts
):
    write(tmp_path, total, shard_size, step)
    reader = read(tmp_path)
    index = read_json(tmp_path / "index.json", "")
    assert [shard["count"] for shard in index["shards"]] == shard_counts
    assert (reader.count, index["count"], index["note"]) == (total, total, "whole")
    for name, expected in rows_of(0, total).items():
        np.testing.assert_array_equal(reader.whole(name), expected)
        assert reader.whole(name).dtype == expected.dtype


@pytest.mark.parametrize("index", [[], [0], [8], [3, 3, 0, 8, 1], [8, 7, 6, 5, 4, 3, 2, 1, 0]])
def test_gather_keeps_the_order_that_is_asked_for(tmp_path, index):
    write(tmp_path, 9, 4, 9)
    rows = read(tmp_path).gather("labels", np.array(index, np.int64))
    np.testing.assert_array_equal(rows, index)


def write_wide(folder: Path) -> tuple[ShardReader, dict[str, np.ndarray]]:
    """Write rows of which many fit in a page, and rows that take more than one."""
    columns = {"labels": Column("int64"), "features": Column("float16", (2, 1500))}
    rows = {
        "labels": np.arange(5000),
        "features": np.random.default_rng(0).random((5000, 2, 1500)).astype(np.float16),
    }
    writer = ShardWriter(folder, "index.json", columns, 5000, 4000, IDENTITY)
    writer.append(**rows)
    writer.finish({})
    shards = read_json(folder / "index.json", "")["shards"]
    return ShardReader(folder, columns, shards, "the writer"), rows


@pytest.mark.parametrize(
    "index",
    [[3999], [0, 3999], [4999, 17, 3000, 17, 4000], range(3990, 4010), range(4999, 0, -700)],
)
def test_rows_near_and_far_apart_are_the_ones_asked_for(tmp_path, index):
    reader, rows = write_wide(tmp_path)
    for name, values in rows.items():
        found = reader.gather(name, np.array(index))
        assert found.dtype == values.dtype
        np.testing.assert_array_equal(found, values[np.array(index)])


def test_a_shard_that_is_cut_while_it_is_read_is_named(tmp_path):
    reader, _ = write_wide(tmp_path)
    reader.gather("features", np.array([0, 3999]))
    os.truncate(tmp_path / "features-00000.npy", 20_000_000)
    with pytest.raises(
        UserError,
        match=r"features-00000\.npy became shorter while it was read; run 'the writer' again",
    ):
        reader.gather("features", np.array([0, 3999]))


@pytest.mark.parametrize("index", [[-1], [9], [0, 100]])
def test_rows_that_do_not_exist_are_refused(tmp_path, index):
    write(tmp_path, 9, 4, 9)
    with pytest.raises(IndexError, match="expected 0 to 8"):
        read(tmp_path).gather("labels", np.array(index))


@pytest.mark.parametrize(
    ("size", "start", "firsts"), [(4, 0, [0, 4, 8]), (5, 3, [3, 8]), (100, 0, [0]), (4, 9, [])]
)
def test_blocks_cross_shards_in_order(tmp_path, size, start, firsts):
    write(tmp_path, 9, 4, 9)
    blocks = list(read(tmp_path).blocks("labels", size, start))
    assert [first for first, _ in blocks] == firsts
    if blocks:
        np.testing.assert_array_equal(np.concatenate([b for _, b in blocks]), range(start, 9))


@pytest.mark.parametrize(
    "rows",
    [
        {"images": np.zeros((2, 2, 1), np.uint8)},
        {"images": np.zeros((2, 2, 1), np.uint8), "labels": np.zeros(3, np.int64)},
        {"images": np.zeros((2, 2, 1), np.float32), "labels": np.zeros(2, np.int64)},
        {"images": np.zeros((2, 1, 1), np.uint8), "labels": np.zeros(2, np.int64)},
    ],
)
def test_rows_of_another_kind_are_refused(tmp_path, rows):
    with pytest.raises(ValueError, match="expected"):
        writer_of(tmp_path, 9, 4).append(**rows)


def test_a_writer_that_is_short_does_not_finish(tmp_path):
    writer = writer_of(tmp_path, 9, 4)
    writer.append(**rows_of(0, 8))
    with pytest.raises(ValueError, match="8 rows are written, expected 9"):
        writer.finish({})
    assert not (tmp_path / "index.json").exists()


def test_more_rows_than_announced_are_refused(tmp_path):
    writer = writer_of(tmp_path, 3, 4)
    with pytest.raises(ValueError, match="more rows than the 3"):
        writer.append(**rows_of(0, 4))


def test_the_caller_may_use_its_array_again(tmp_path):
    writer = writer_of(tmp_path, 4, 4)
    rows = rows_of(0, 2)
    writer.append(**rows)
    rows["labels"][:] = 7
    writer.append(**rows_of(2, 4))
    writer.finish({})
    np.testing.assert_array_equal(read(tmp_path).whole("labels"), range(4))


def test_an_unfinished_writer_of_the_same_identity_is_continued(tmp_path):
    writer = writer_of(tmp_path, 10, 4)
    writer.append(**rows_of(0, 9))
    assert write(tmp_path, 10, 4, 3) == 8
    np.testing.assert_array_equal(read(tmp_path).whole("labels"), range(10))
    assert not (tmp_path / "progress.json").exists()


@pytest.mark.parametrize(("total", "shard_size", "seed"), [(11, 4, 0), (10, 5, 0), (10, 4, 1)])
def test_shards_of_another_identity_are_discarded(tmp_path, total, shard_size, seed):
    write(tmp_path, 10, 4, 10)
    assert write(tmp_path, total, shard_size, 3, seed) == 0
    names = {path.name for path in tmp_path.glob("*.npy")}
    assert len(names) == 2 * len(read_json(tmp_path / "index.json", "")["shards"])


def test_the_index_disappears_before_shards_change(tmp_path):
    write(tmp_path, 10, 4, 10)
    writer_of(tmp_path, 10, 4, seed=1)
    assert list(tmp_path.iterdir()) == []


def test_a_finished_folder_written_again_is_the_same(tmp_path):
    write(tmp_path, 10, 4, 3)
    before = contents(tmp_path)
    assert write(tmp_path, 10, 4, 3) == 10
    assert contents(tmp_path) == before


def test_files_of_others_survive(tmp_path):
    (tmp_path / "mine.npy").write_bytes(b"")
    write(tmp_path, 10, 4, 3)
    assert (tmp_path / "mine.npy").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"format": "other"},
            r"index\.json is not an index of numbers; run 'the writer' to write one",
        ),
        (
            {"version": 2},
            "has numbers of version 2, but version 1 is required; run 'the writer' again",
        ),
    ],
)
def test_another_index_is_refused(tmp_path, change, message):
    path = tmp_path / "index.json"
    write_json(path, {"format": "numbers", "version": 1} | change)
    with pytest.raises(UserError, match=message):
        read_index(path, "numbers", 1, "the writer", "numbers")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_flipped_byte_is_named(tmp_path):
    write(tmp_path, 10, 4, 10)
    flip(shard_path(tmp_path, "labels", 1))
    reader = read(tmp_path)
    with pytest.raises(UserError, match=r"labels-00001\.npy does not match its SHA-256.*'the wr"):
        reader.verify()


def test_a_flipped_byte_is_never_read(tmp_path):
    write(tmp_path, 10, 4, 10)
    reader = read(tmp_path)
    flip(shard_path(tmp_path, "labels", 1))
    assert len(reader.gather("labels", np.arange(4))) == 4
    for reading in (lambda: reader.gather("labels", np.arange(5)), lambda: reader.whole("labels")):
        with pytest.raises(UserError, match=r"labels-00001\.npy does not match its SHA-256"):
            reading()


def test_writing_again_mends_a_flipped_byte(tmp_path):
    write(tmp_path, 10, 4, 10)
    before = contents(tmp_path)
    flip(shard_path(tmp_path, "labels", 1))
    assert write(tmp_path, 10, 4, 10) == 4
    assert contents(tmp_path) == before


DAMAGE = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "no header": lambda path: path.write_bytes(b"\0" * 160),
    "no Python in its header": lambda path: path.write_bytes(
        path.read_bytes().replace(b"(4,)", b"(4( ")
    ),
    "no end of its header": lambda path: path.write_bytes(path.read_bytes().replace(b"}", b" ")),
    "other dtype": lambda path: np.save(path, np.zeros(4, np.int32)),
    "other shape": lambda path: np.save(path, np.zeros(5, np.int64)),
    "pickle": lambda path: np.save(path, np.array([None] * 4), allow_pickle=True),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_shard_is_named_on_opening(tmp_path, damage):
    write(tmp_path, 10, 4, 10)
    damage(shard_path(tmp_path, "labels", 0))
    with pytest.raises(UserError, match=r"labels-00000\.npy is damaged .*; run 'the writer' again"):
        read(tmp_path)


@settings(max_examples=60)
@given(
    total=st.integers(0, 40),
    shard_size=st.integers(1, 12),
    steps=st.lists(st.integers(1, 15), min_size=1, max_size=4),
    kills=st.lists(st.integers(0, 12), max_size=4),
    damaged=st.none() | st.integers(0, 40),
)
def test_a_writer_killed_at_any_moment_ends_with_the_same_bytes(
    tmp_path_factory, total, shard_size, steps, kills, damaged
):
    folder, straight = (tmp_path_factory.mktemp(name) for name in ("killed", "straight"))
    with pytest.MonkeyPatch.context() as patch:
        # Nobody pulls the plug here, and waiting for the disk is what takes the time.
        patch.setattr(os, "fsync", lambda descriptor: None)
        write_with_kills(folder, total, shard_size, steps, kills)
        damage_one_shard(folder, damaged)
        write(folder, total, shard_size, steps[0])
        write(straight, total, shard_size, 1)
    read(folder).verify()
    assert contents(folder) == contents(straight)


def write_with_kills(folder, total, shard_size, steps, kills):
    for run, kill in enumerate(kills):
        with pytest.MonkeyPatch.context() as patch:
            kill_at_rename(patch, kill)
            try:
                write(folder, total, shard_size, steps[run % len(steps)])
            except Killed:
                (folder / f".images-00000.{run}.partial.npy").write_bytes(b"torn")
        index = folder / "index.json"
        if index.exists():
            np.testing.assert_array_equal(read(folder).whole("labels"), range(total))


def damage_one_shard(folder, number):
    shards = sorted(folder.glob("*.npy"))
    if number is not None and shards:
        flip(shards[number % len(shards)])


def test_a_process_that_is_really_killed_leaves_only_whole_shards(tmp_path):
    script = f"""
import os, signal
import numpy as np
from pathlib import Path
from pyrobust.data.shard_writer import ShardWriter
from pyrobust.data.shards import Column
columns = {{"labels": Column("int64")}}
writer = ShardWriter(Path({str(tmp_path)!r}), "index.json", columns, 9, 4, {{}})
writer.append(labels=np.arange(6))
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -signal.SIGKILL
    columns = {"labels": Column("int64")}
    writer = ShardWriter(tmp_path, "index.json", columns, 9, 4, {})
    assert writer.count == 4
    writer.append(labels=np.arange(4, 9))
    writer.finish({})
    shards = read_json(tmp_path / "index.json", "")["shards"]
    reader = ShardReader(tmp_path, columns, shards, "the writer")
    np.testing.assert_array_equal(reader.whole("labels"), range(9))

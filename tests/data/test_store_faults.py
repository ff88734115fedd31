"""Writer, killer and reader of a sample store driven against each other.

Whatever happens to its files, what is read is exactly what was written; else the reader names a
file that is missing or not what was written.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pyrobust.data.store import SampleStore, StoreWriter
from pyrobust.errors import UserError
from tests.kills import Killed

COUNT, SHARD_SIZE = 23, 5
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (COUNT, 3, 2, 1), dtype=np.uint8)
LABELS = RANDOM.integers(0, 2, COUNT)
SCORES = RANDOM.random(COUNT, dtype=np.float32)


def write(folder: Path, step: int, seed: int = 0) -> None:
    writer = StoreWriter(
        folder, (3, 2, 1), ("no", "yes"), COUNT, {"seed": seed}, "pyrobust sample", scored=True,
        shard_size=SHARD_SIZE,
    )  # fmt: skip
    for first in range(writer.count, COUNT, step):
        rows = slice(first, first + step)
        writer.append(IMAGES[rows], LABELS[rows], SCORES[rows])
    writer.finish()


@contextmanager
def killed_before(operation: int) -> Iterator[None]:
    """Kill at the n-th rename or removal of a file; nothing else of the writer runs then."""
    left = operation

    def counted(original: Callable[..., object]) -> Callable[..., object]:
        def run(self: Path, *arguments: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return original(self, *arguments, **options)

        return run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", counted(Path.replace))
        patch.setattr(Path, "unlink", counted(Path.unlink))
        yield


def files_of(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.iterdir() if not path.name.startswith("."))
    return {path.name: path.read_bytes() for path in files}


class StoreUnderFire(RuleBasedStateMachine):
    """A folder that is written, killed, damaged and read in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.patch = pytest.MonkeyPatch()
        # Nobody pulls the plug here, and waiting for the disk is what takes the time.
        self.patch.setattr(os, "fsync", lambda descriptor: None)

    @initialize()
    def write_the_truth(self) -> None:
        write(self.folder / "truth", COUNT)
        self.truth = files_of(self.folder / "truth")
        (self.folder / "store").mkdir()

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @rule(step=st.integers(1, COUNT))
    def write(self, step: int) -> None:
        write(self.store, step)
        assert files_of(self.store) == self.truth

    @rule(step=st.integers(1, COUNT), operation=st.integers(0, 40))
    def write_and_be_killed(self, step: int, operation: int) -> None:
        with killed_before(operation):
            try:
                write(self.store, step)
            except Killed:
                return
        assert files_of(self.store) == self.truth

    @rule(operation=st.integers(0, 40))
    def be_killed_while_writing_another_store(self, operation: int) -> None:
        with killed_before(operation):
            try:
                write(self.store, COUNT, seed=1)
            except Killed:
                return
        shutil.rmtree(self.store)
        self.store.mkdir()

    @rule(number=st.integers(0, 99), place=st.integers(0, 9999), bit=st.integers(0, 7))
    def flip_a_bit(self, number: int, place: int, bit: int) -> None:
        if path := self.shard(number):
            data = bytearray(path.read_bytes())
            if data:
                data[place % len(data)] ^= 1 << bit
            path.write_bytes(data)

    @rule(number=st.integers(0, 99), share=st.floats(0, 1))
    def tear(self, number: int, share: float) -> None:
        if path := self.shard(number):
            data = path.read_bytes()
            path.write_bytes(data[: int(share * len(data))])

    @rule(number=st.integers(0, 99))
    def lose(self, number: int) -> None:
        if path := self.shard(number):
            path.unlink()

    @rule(share=st.floats(0, 0.99))
    def tear_the_manifest(self, share: float) -> None:
        path = self.store / "manifest.json"
        if path.is_file():
            data = path.read_bytes()
            path.write_bytes(data[: int(share * len(data))])

    @invariant()
    def what_can_be_read_is_what_was_written(self) -> None:
        found = files_of(self.store)
        wrong = {name for name, data in self.truth.items() if found.get(name) != data}
        try:
            store = SampleStore.open(self.store)
            np.testing.assert_array_equal(store.images(), IMAGES)
            np.testing.assert_array_equal(store.labels(), LABELS)
            np.testing.assert_array_equal(store.scores(), SCORES)
        except UserError as error:
            assert any(name in str(error) for name in wrong), (error, wrong)
            return
        # Killed after its manifest, the other store is there, and whole.
        assert not wrong - ({"manifest.json"} if store.provenance == {"seed": 1} else set())
        store.verify()
        rows = np.array([COUNT - 1, 0, SHARD_SIZE, 0])
        np.testing.assert_array_equal(store.gather(rows), IMAGES[rows])
        assert [first for first, _ in store.blocks(10)] == [0, 10, 20]

    def teardown(self) -> None:
        if hasattr(self, "truth"):
            write(self.store, 4)
            assert files_of(self.store) == self.truth
            hidden = {path.name for path in self.store.iterdir() if path.name.startswith(".")}
            assert not any(name.startswith((".images", ".labels", ".scores")) for name in hidden)
        self.patch.undo()
        shutil.rmtree(self.folder)

    def shard(self, number: int) -> Path | None:
        shards = sorted(self.store.glob("[!.]*.npy"))
        return shards[number % len(shards)] if shards else None


TestStoreUnderFire = StoreUnderFire.TestCase
TestStoreUnderFire.settings = settings(max_examples=40, stateful_step_count=20)

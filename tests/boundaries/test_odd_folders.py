"""Odd raw files through `pyrobust dataset`: the data set of their plain twin, or one sentence."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from pyrobust.data.dataset import SPLITS, Dataset
from tests.boundaries.odd_images import Odd, encode, odd_images, shown
from tests.boundaries.oracle import run

CLASSES = ("ant", "bee", "cow")
COUNTS = {"train": 4, "validation": 1, "test": 2}  # of each class

# How the hub and others name splits.
WORDS = {
    "train": ("train", "training", "Train"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval"),
}
# Files that hold no data, and files that may.
NO_DATA = (".DS_Store", "._0.png", "README", "README.md", "Thumbs.db", "__MACOSX/._0.png", "a.json")
MAYBE_DATA = ("more.tgz", "0001", "more.h5", "train.pkl")


@dataclass(frozen=True)
class OddSet:
    """Images in splits, and how their files are named."""

    images: dict[str, list[tuple[Odd, np.ndarray, int]]]
    words: dict[str, str]
    parquet_name: str | None  # of the files; folders of classes where None
    around: str
    extra: str | None

    @property
    def is_refused(self) -> bool:
        kept = [odd for held in self.images.values() for odd, _, _ in held]
        return any(odd.is_refused for odd in kept) or self.extra in MAYBE_DATA

    def write(self, folder: Path) -> None:
        place = folder / self.around
        for split, held in self.images.items():
            word = self.words[split]
            if self.parquet_name is None:
                for number, (odd, pixels, label) in enumerate(held):
                    path = place / word / CLASSES[label] / f"{number}{odd.suffix}"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(encode(odd, pixels))
                continue
            path = place / self.parquet_name.format(word)
            path.parent.mkdir(parents=True, exist_ok=True)
            files = [encode(odd, pixels) for odd, pixels, _ in held]
            labels = [label for _, _, label in held]
            pq.write_table(pa.table({"image": files, "label": labels}), path)
        if self.extra is not None:
            (place / self.extra).parent.mkdir(parents=True, exist_ok=True)
            (place / self.extra).write_bytes(b"\0\5")


@st.composite
def odd_sets(draw: st.DrawFn) -> OddSet:
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    splits = draw(st.sampled_from([("train", "test"), ("train", "validation", "test")]))
    images = {
        split: [
            (draw(odd_images()), rng.integers(0, 256, (5, 4, 3), np.uint8), label)
            for _ in range(COUNTS[split])
            for label in range(len(CLASSES))
        ]
        for split in splits
    }
    return OddSet(
        images,
        {split: draw(st.sampled_from(words)) for split, words in WORDS.items()},
        draw(st.sampled_from([None, None, "{}.parquet", "{}/0000.parquet", "x-{}-0.parquet"])),
        draw(st.sampled_from(["", "default", "data/unpacked"])),
        draw(st.sampled_from([None, *NO_DATA, *NO_DATA, *MAYBE_DATA])),
    )


def as_colour(image: np.ndarray) -> bytes:
    return np.broadcast_to(image, (*image.shape[:2], 3)).tobytes()


@settings(max_examples=25)
@given(odd=odd_sets())
def test_odd_files_are_their_plain_twin_or_refused(odd: OddSet) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        odd.write(folder / "raw" / "animals")
        options = ["--data-root", "raw", "--output", "out", "--channels", 3]
        if "validation" not in odd.images:
            options += ["--validation-size", 3]
        why = run(folder, "dataset", "animals", *options)
        assert (why is not None) == odd.is_refused, why
        if why is not None:
            return
        dataset = Dataset.open(folder / "out")
        found = {
            split: sorted(
                (as_colour(image), int(label))
                for image, label in zip(store.images(), store.labels(), strict=True)
            )
            for split in SPLITS
            if (store := getattr(dataset, split)).count
        }
        twin = {
            split: sorted((shown(how, pixels).tobytes(), label) for how, pixels, label in held)
            for split, held in odd.images.items()
        }
        if "validation" not in twin:
            assert found.pop("validation") + found["train"]
            rest = [image for image in twin["train"] if image not in found["train"]]
            assert len(rest) == 3
            twin["train"] = found["train"]
        assert found == twin

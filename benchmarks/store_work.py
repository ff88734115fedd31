"""What `stores.py` measures: so many random samples, and where they lie."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CLASSES = tuple(str(label) for label in range(10))
SHARE = 0.8  # of the samples is kept
PART = 1_000_000  # samples of a part
PIECE = 1 << 26  # bytes that are written at a time, as a shard
BATCH, NUM_BATCHES = 1024, 200


@dataclass(frozen=True)
class Work:
    """One size: how many samples, and where everything lies."""

    folder: Path
    size: int
    image_shape: tuple[int, int, int]

    @property
    def kept(self) -> int:
        """Samples that are selected."""
        return round(SHARE * self.size)

    @property
    def image_bytes(self) -> int:
        """Bytes of an image."""
        return math.prod(self.image_shape)

    @property
    def num_parts(self) -> int:
        """Parts that the samples come in."""
        return -(-self.size // PART)

    def path(self, *names: object) -> Path:
        """Return a path in the folder."""
        return self.folder.joinpath(*map(str, names))

    def pieces(self, count: int, seed: int) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield images, labels and scores of `count` samples, a shard at a time."""
        random = np.random.default_rng(seed)
        rows = PIECE // self.image_bytes
        images = random.integers(0, 256, (min(rows, count), *self.image_shape), np.uint8)
        for first in range(0, count, rows):
            length = min(rows, count - first)
            labels = random.integers(0, len(CLASSES), length)
            yield images[:length], labels, random.random(length, np.float32)


def prepare(work: Work) -> None:
    """Fit a Gaussian and save a labeller, which a selection asks for its samples' origin."""
    import torch

    from pyrobust.config.data import DatasetSettings
    from pyrobust.config.generators import GeneratorSettings
    from pyrobust.data.prepare import make_dataset
    from pyrobust.generators.fitting import fit_generator
    from pyrobust.models import ModelSpec, build_model, save_model
    from pyrobust.models.files import WEIGHTS
    from pyrobust.training.runtime import Runtime

    raw = work.path("raw", "noise")
    raw.mkdir(parents=True)
    (raw / "classes.txt").write_text("\n".join(CLASSES))
    images, labels, _ = next(work.pieces(200, seed=0))
    for split in ("train", "test"):
        np.savez(raw / f"{split}.npz", image=images, label=np.sort(labels))
    make_dataset("noise", raw.parent, work.path("dataset"), DatasetSettings(validation_size=20))
    fit_generator(
        work.path("dataset"), work.path("generator"), GeneratorSettings(jitter=1e-4),
        Runtime(trackers=()),
    )  # fmt: skip
    grey = (0.5,) * work.image_shape[2]
    spec = ModelSpec("wrn-10-1", "silu", len(CLASSES), work.image_shape, grey, grey)
    torch.manual_seed(0)
    save_model(work.path("labeller") / WEIGHTS, build_model(spec), spec)


def take_batches(work: Work, read: Callable[[np.ndarray], object]) -> None:
    """Read random rows of the selection, a batch at a time."""
    random = np.random.default_rng(0)
    for _ in range(NUM_BATCHES):
        read(random.integers(0, work.kept, BATCH))

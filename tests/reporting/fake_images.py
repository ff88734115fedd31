"""Fake stages that hold images: a data set, and generated images with their analysis."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.datasets import load_digits

from pyrobust.data.store import StoreWriter
from pyrobust.files import write_json

CLASS_NAMES = tuple("0123456789")
COUNTS = {"train": 400, "validation": 100, "test": 200}
NUM_GENERATED = 300
NUM_NEAR_COPIES = 7


def make_cost(folder: Path, seconds: float, name: str = "cost.json", **more: float) -> None:
    cost = {
        "seconds": seconds,
        "peak_memory_mb": 512.0,
        "device": "cpu",
        "versions": {"pyrobust": "0.1.0", "torch": "2.14.1"},
    }
    write_json(folder / name, cost | more)


def make_dataset(folder: Path, random: np.random.Generator) -> np.ndarray:
    """Write the three splits; return the labels of the test split."""
    digits = load_digits()
    images = (digits.images * 255 / 16).astype(np.uint8)[..., None]
    order = random.permutation(len(images))
    start = 0
    for split, count in COUNTS.items():
        rows = order[start : start + count]
        _make_store(folder / split, images[rows], digits.target[rows])
        start += count
    write_json(
        folder / "dataset.json",
        {
            "name": "digits",
            "settings": {"layout": "digits", "validation_size": 100, "test_size": 200},
            "class_names": CLASS_NAMES,
            "image_shape": [8, 8, 1],
            "counts": COUNTS,
            "mean": [0.3],
            "std": [0.35],
            "sources": {"digits.csv.gz": "ab" * 32},
        },
    )
    make_cost(folder, 0.6)
    return digits.target[rows]


def _make_store(
    folder: Path,
    images: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray | None = None,
    provenance: dict[str, Any] | None = None,
) -> None:
    writer = StoreWriter(
        folder,
        image_shape=(8, 8, 1),
        class_names=CLASS_NAMES,
        total=len(images),
        provenance=provenance or {},
        made_by="pyrobust dataset",
        scored=scores is not None,
    )
    writer.append(images, labels, scores)
    writer.finish()


def make_generated(root: Path, random: np.random.Generator) -> None:
    digits = load_digits()
    rows = random.integers(len(digits.images), size=NUM_GENERATED)
    noisy = digits.images[rows] * 15 + random.normal(0, 40, (NUM_GENERATED, 8, 8))
    _make_store(
        root / "samples",
        noisy.clip(0, 255).astype(np.uint8)[..., None],
        digits.target[rows],
        random.uniform(0.5, 1, NUM_GENERATED).astype(np.float32),
        {
            "sampled": {"count": 375, "mean_score": 0.72},
            "kept": {"count": NUM_GENERATED, "mean_score": 0.75},
            "near_copies": NUM_NEAR_COPIES,
        },
    )
    write_json(
        root / "generator/generator.json",
        {
            "settings": {"type": "gaussian", "jitter": 1e-4},
            "dataset": "digits",
            "class_names": CLASS_NAMES,
            "image_shape": [8, 8, 1],
            "weights_sha256": "cd" * 32,
        },
    )
    write_json(
        root / "analysis/quality.json",
        {
            "extractor": "labeller",
            "comparable_with_published": False,
            "num_images": NUM_GENERATED,
            "manifold": {
                "precision": 0.71,
                "recall": 0.64,
                "density": 0.8,
                "coverage": 0.75,
                "nearest_k": 5,
            },
            "notes": ["few images"],
            "fid": 31.4,
            "inception_score": {"mean": 7.9, "std": 0.2, "splits": 10},
        },
    )
    per_class = {name: {"train": 0.3, "test": 0.2, "self": 0.5} for name in CLASS_NAMES}
    write_json(
        root / "analysis/neighbours.json",
        {
            "extractor": "labeller",
            "num_samples": 200,
            "components": 100,
            "set_sizes": {"train": 200, "test": 200, "self": 200},
            "copies": {"train": 0.0, "test": 0.0, "self": 0.0},
            "complementarity": {"train": 0.31, "test": 0.24, "self": 0.45},
            "coverage": {"train": 0.42, "test": 0.4},
            "per_class": {
                name: {"complementarity": shares, "coverage": {"train": 0.4, "test": 0.4}}
                for name, shares in per_class.items()
            },
            "approximate": None,
            "reference": {"train_covers_test": 0.53, "test_covers_train": 0.52},
        },
    )
    distances = {f"{s}_distance": random.uniform(1, 9, 200) for s in ("train", "test", "self")}
    table = {
        "index": np.arange(200),
        "train": random.integers(COUNTS["train"], size=200),
        "test": random.integers(COUNTS["test"], size=200),
        "self": random.integers(NUM_GENERATED, size=200),
        **distances,
    }
    pq.write_table(pa.table(table), root / "analysis/neighbours.parquet")
    make_cost(root / "generator", 0.4)
    make_cost(root / "samples", 1.1, images_per_second=9000.0)
    make_cost(root / "analysis", 2.0, "neighbours.cost.json")
    make_cost(root / "analysis", 3.0, "quality.cost.json")

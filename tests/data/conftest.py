"""Raw files of tiny data sets in every layout."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

NAMES = ("ant", "bee", "cow")


def make_images(count: int, size: int = 4, channels: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, size, size, channels), dtype=np.uint8)


def make_labels(count: int) -> np.ndarray:
    return np.arange(count) % len(NAMES)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return file.getvalue()


def write_parquet(
    path: Path,
    images: list[bytes | None],
    labels: list[int],
    image_column: str = "img",
    label_column: str = "label",
    names: tuple[str, ...] | None = NAMES,
) -> None:
    table = pa.table(
        {
            image_column: [{"bytes": data, "path": None} for data in images],
            label_column: pa.array(labels, pa.int64()),
        }
    )
    if names is not None:
        features = {label_column: {"names": list(names), "_type": "ClassLabel"}}
        info = {"info": {"features": features}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=7)


class RawFiles:
    """Writes the same 30 training and 12 test images in a layout of choice."""

    names = NAMES
    png = staticmethod(png)
    make_images = staticmethod(make_images)
    write_parquet = staticmethod(write_parquet)

    def __init__(self, root: Path) -> None:
        self.root = root
        self.train = (make_images(30), make_labels(30))
        self.test = (make_images(12, seed=1), make_labels(12))

    def parquet(self, **options) -> Path:
        for split, (images, labels) in (("train", self.train), ("test", self.test)):
            encoded = [png(image) for image in images]
            half = len(encoded) // 2
            for part, rows in enumerate((slice(None, half), slice(half, None))):
                path = self.root / "data" / f"{split}-{part:05}-of-00002.parquet"
                write_parquet(path, encoded[rows], labels[rows].tolist(), **options)
        return self.root

    def npz(self, compressed: bool = False) -> Path:
        save = np.savez_compressed if compressed else np.savez
        for split, (images, labels) in (("train", self.train), ("test", self.test)):
            save(self.root / f"{split}.npz", image=images, label=labels)
        return self.root

    def folder(self, splits: bool = True) -> Path:
        for split, (images, labels) in (("train", self.train), ("test", self.test)):
            for row, (image, label) in enumerate(zip(images, labels, strict=True)):
                below = self.root / split if splits else self.root
                path = below / NAMES[label] / f"{split}{row:03}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(png(image))
        return self.root

    def tinyimagenet(self) -> Path:
        """WordNet ids out of order, two classes of one name, and one grey image."""
        root = self.root / "tiny-imagenet-200"
        ids = ("n03", "n01", "n02")
        root.mkdir(parents=True)
        (root / "wnids.txt").write_text("\n".join(ids) + "\n")
        (root / "words.txt").write_text("n01\tcrane, bird\nn02\tcrane\nn03\tcow\nn99\tother\n")
        images, labels = self.train
        for row, (image, label) in enumerate(zip(images, labels, strict=True)):
            folder = root / "train" / ids[label] / "images"
            folder.mkdir(parents=True, exist_ok=True)
            shown = image[:, :, :1] if row == 0 else image
            (folder / f"{ids[label]}_{row}.JPEG").write_bytes(png(shown))
        lines = []
        (root / "val" / "images").mkdir(parents=True)
        for row, (image, label) in enumerate(zip(*self.test, strict=True)):
            (root / "val" / "images" / f"val_{row}.JPEG").write_bytes(png(image))
            lines.append(f"val_{row}.JPEG\t{ids[label]}\t0\t0\t1\t1")
        (root / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
        return self.root


@pytest.fixture
def raw_files(tmp_path) -> RawFiles:
    root = tmp_path / "raw" / "animals"
    root.mkdir(parents=True)
    return RawFiles(root)

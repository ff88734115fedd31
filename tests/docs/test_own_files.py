"""Data sets and samples in files of the user's own become what docs/ says, by what docs/ shows."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pyrobust.cli import app
from pyrobust.data import Dataset, SampleStore

DOCS = Path(__file__).parents[2] / "docs"


def run_python_of(page: str) -> None:
    """Run the Python that a page shows."""
    (block,) = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.M | re.S)
    exec(compile(block, page, "exec"), {})


def run(line: str) -> None:
    app(shlex.split(line)[1:], standalone_mode=False)


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Return images of three classes in turn, for files in the current folder."""
    monkeypatch.chdir(tmp_path)
    return np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_files_of_medmnist_become_a_data_set(images: np.ndarray, channels: int) -> None:
    given = images if channels == 3 else images[..., 0]
    arrays: dict[str, np.ndarray] = {}
    for split in ("train", "val", "test"):
        arrays |= {f"{split}_images": given, f"{split}_labels": np.arange(30)[:, None] % 3}
    np.savez("pathmnist.npz", **arrays)  # type: ignore[arg-type]
    run_python_of("data.md")
    Path("pathmnist.npz").unlink()
    run("pyrobust dataset pathmnist --path . --validation-size 30 --output data")
    test = Dataset.open(Path("data")).test
    np.testing.assert_array_equal(test.images(), images[..., :channels])
    np.testing.assert_array_equal(test.labels(), np.arange(30) % 3)


def test_a_folder_of_samples_is_imported_by_the_commands_of_the_page(images: np.ndarray) -> None:
    for number, image in enumerate(images):
        folder = Path("my-samples") / "abc"[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
    data = "pyrobust dataset flowers --path my-samples --test-size 6 --validation-size 6"
    run(f"{data} --output results/flowers/data")
    run_python_of("published-samples.md")
    text = (DOCS / "published-samples.md").read_text()
    for verb in ("fit-generator", "sample"):
        (line,) = re.findall(rf"^    (pyrobust {verb} .*results/flowers.*)$", text, re.M)
        run(line)
    store = SampleStore.open("results/flowers/samples")
    classes = {image.tobytes(): number % 3 for number, image in enumerate(images)}
    pairs = zip(store.images(), store.labels(), strict=True)
    assert {image.tobytes(): label for image, label in pairs} == classes

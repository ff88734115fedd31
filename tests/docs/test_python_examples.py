"""The Python that README and docs show runs as it stands."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import pyrobust
from pyrobust.cli import app

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/python.md", "docs/certificates.md", "docs/threats.md", "docs/trust.md")


def python_blocks(page: str) -> list[str]:
    """Return the Python that a page shows."""
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.M | re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the generator that the examples name, here a Gaussian of digits."""
    folder = tmp_path_factory.mktemp("examples")
    data = str(folder / "digits")
    for command in (
        ["dataset", "digits", "--layout", "digits", "--test-size", "500", "--validation-size",
         "200", "--output", data],
        ["fit-generator", "--dataset", data, "--jitter", "1e-4", "--output",
         str(folder / "results/generators/digits/edm_tiny")],
    ):  # fmt: skip
        app(command, standalone_mode=False)
    return folder


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_run_one_after_the_other(
    page: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    images = torch.rand(40, 1, 8, 8, generator=generator)
    features = torch.rand(3, 30, 8, generator=generator)
    Path("results").mkdir(exist_ok=True)
    known: dict[str, Any] = {
        "pyrobust": pyrobust,
        "model": model,
        "images": images,
        "labels": torch.arange(40) % 10,
        "network": nn.Sequential(nn.Flatten(), nn.Linear(64, 10)),
        "test_images": images[:10],
        "test_labels": torch.arange(10),
        "train_features": features[0].numpy(),
        "test_features": features[1].numpy(),
        "generated_features": np.asarray(features[2]),
    }
    blocks = python_blocks(page)
    assert blocks
    for block in blocks:
        exec(compile(shortened(block), page, "exec"), known)


def shortened(block: str) -> str:
    """Return an example with the quickest attack and training in place of the strongest."""
    for shown, run in (
        ('epsilon="8/255")', 'epsilon="8/255", attack="pgd40")'),
        ("test_labels)", 'test_labels, attack="pgd40")'),
        ('"spatial"))', '"spatial"), attack="pgd40")'),
        ("1000)", "10)"),
        (
            "epochs=10, batch_size=256",
            "epochs=1, batch_size=8, attack_steps=1, validations=1, gap_images=0",
        ),
    ):
        block = block.replace(shown, run)
    return block


def test_the_attack_of_the_page_on_extending_breaks_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source,) = [b for b in python_blocks("docs/extending.md") if "my_attacks.py" in b]
    (tmp_path / "my_attacks.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    images = torch.rand(12, 1, 8, 8, generator=generator)
    with torch.no_grad():
        labels = model(images).argmax(1)
    result = pyrobust.evaluate(
        model, images, labels, norm="linf", epsilon=0.2, attack="my_attacks:sign_ascent"
    )
    assert result.clean_accuracy == 1
    assert result.robust_accuracy < 0.5
    assert result.stages[0]["attack"] == "my_attacks:sign_ascent"

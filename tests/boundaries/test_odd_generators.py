"""Odd generators, layouts and attacks of the user's own: their result, or one sentence."""

import importlib
import itertools
import json
from pathlib import Path

import pytest
import torch

import pyrobust
from pyrobust.errors import UserError

X = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(24) % 3

MODULE = """
import numpy as np
from pyrobust.generators.base import MADE_BY, BlockGenerator, Samples
from pyrobust.generators.weights import map_tensors, write_tensors

class Own(BlockGenerator):
    conditional, block_size = True, 10
    def __init__(self, spec, sha256=None):
        super().__init__(spec, sha256)
    @classmethod
    def fit(cls, fit):
        {fit}
        return cls(fit.spec)
    def sample_block(self, block, seed):
        rng = np.random.default_rng([seed, block])
        images = rng.integers(0, 256, (10, 4, 4, 1), np.uint8)
        classes = np.arange(10) % 3
        return {answer}
    def write_weights(self, folder):
        return write_tensors(folder / "weights.safetensors", {{"none": np.zeros(1)}})
    @classmethod
    def read_weights(cls, folder, spec, sha256):
        return cls(spec, sha256)

def attack(logits_fn, x, labels, ids, threat, seed):
    return {point}
"""
numbers = itertools.count()


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that writes a module of the user's own, and returns its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(fit="pass", answer="Samples(images, classes)", point="x") -> str:
        name = f"own_code_{next(numbers)}"
        text = MODULE.format(fit=fit, answer=answer, point=point)
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        return name

    return write


def fit(kind: str, folder: Path) -> Path:
    return pyrobust.fit_generator(kind, X, Y, output=folder, validation=3, device="cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answer": "Samples(images / 255, classes)"}, "returns images of float64, expected uint8"),
        ({"answer": "Samples(images * np.nan, classes)"}, "returns images of float64"),
        ({"answer": "Samples(images, None)"}, "returns conditions of NoneType, expected int64"),
        ({"answer": "Samples(images, classes + 0.5)"}, "returns conditions of float64"),
        ({"answer": "Samples(images[:3], classes)"}, r"shape \(3, 4, 4, 1\), expected \(10, 4,"),
        ({"answer": "Samples(images.transpose(0, 3, 1, 2), classes)"}, r"of shape \(10, 1, 4, 4\)"),
        ({"answer": "(images, classes)"}, "returns a tuple, expected Samples"),
        (
            {"answer": "1 / 0"},
            r"fails with ZeroDivisionError in line [0-9]+ of .*: div",
        ),
        ({"fit": "raise KeyError('mask')"}, r"fails with KeyError in line [0-9]+ of .*: 'mask'"),
    ],
)
def test_generators_that_return_no_images_are_refused(own, tmp_path, changes, message) -> None:
    with pytest.raises(UserError, match=message):
        pyrobust.sample(fit(f"{own(**changes)}:Own", tmp_path / "g"), 7, device="cpu")


def test_a_plain_generator_is_used(own, tmp_path) -> None:
    images, classes = pyrobust.sample(fit(f"{own()}:Own", tmp_path / "g"), 7, device="cpu")
    assert tuple(images.shape) == (7, 1, 4, 4) and classes.tolist() == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_shape": [4, 4]}, "generator.json is damaged"),
        ({"settings": None}, "generator.json is damaged"),
        ({"class_names": 3}, "generator.json is damaged"),
    ],
)
def test_a_changed_description_of_a_generator_is_refused(tmp_path, change, message) -> None:
    folder = fit("gaussian", tmp_path / "g")
    path = folder / "generator.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=message):
        pyrobust.sample(folder, 1, device="cpu")
    with pytest.raises(UserError, match="is missing"):
        pyrobust.sample(path, 1, device="cpu")


def test_the_error_of_an_attack_is_one_sentence(own) -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
    name = own(point="x.no_such")
    with pytest.raises(UserError, match=r"attack fails with AttributeError in line [0-9]+ of"):
        pyrobust.attack(network, X, Y, norm="linf", epsilon=0.1, method=f"{name}:attack")

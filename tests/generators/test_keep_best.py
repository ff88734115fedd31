"""The weights of the best FID are kept (`keep_best: fid`), also by a run that was killed."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pyrobust.analysis.training_fid import TrainingFid
from pyrobust.config.generators import GeneratorSettings
from pyrobust.data.dataset import Dataset
from pyrobust.data.store import SampleStore
from pyrobust.files import read_json
from pyrobust.generators.biggan import biggan
from pyrobust.generators.fitting import fit_generator
from pyrobust.generators.network_training import NetworkTraining
from pyrobust.generators.registry import load_generator
from pyrobust.generators.trained import TrainedGenerator
from pyrobust.models import ModelSpec, build_model, save_model
from tests.generators.fits import RUNTIME
from tests.generators.test_network_training import SMALL, settings_of
from tests.kills import Killed

FIDS = [5.0, 3.0, 3.0, 4.0]  # measured after 2, 4, 6 and 8 updates


class ListedFid:
    """Gives numbers from a list, and notes which images it was asked about."""

    measured: ClassVar[list[np.ndarray]] = []

    def __init__(self, features: Path, train: SampleStore, device: torch.device) -> None:
        self.description = {"name": features.name, "count": train.count}

    def __call__(self, samples: Iterable[np.ndarray], stopping: Callable[[], bool]) -> float | None:
        if stopping():
            return None
        self.measured.append(np.concatenate(list(samples)))
        return FIDS[(len(self.measured) - 1) % len(FIDS)]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ListedFid, "measured", [])
    monkeypatch.setattr(TrainedGenerator, "block_size", 20)
    monkeypatch.setattr(biggan, "_STANDING_BATCHES", 3)


def measured(kind: str, **changes: Any) -> GeneratorSettings:
    given = {"keep_best": "fid", "fid_features": "features", "fid_measures": 4, "fid_samples": 30}
    steps = {"ddpm": {"sampler": "ddim", "sampling_steps": 2}, "edm": {"sampling_steps": 2}}
    return settings_of(kind, training_steps=8, **{**given, **steps.get(kind, {}), **changes})


@pytest.mark.parametrize("kind", SMALL)
def test_the_best_weights_sample_and_the_record_names_them(
    kind: str, bars: Dataset, tmp_path: Path
) -> None:
    fit_generator(bars.path, tmp_path, measured(kind), RUNTIME, ListedFid)
    samples = load_generator(tmp_path).sample(np.arange(30), seed=0).images
    assert len(ListedFid.measured) == 4
    np.testing.assert_array_equal(samples, ListedFid.measured[2])  # the later of equals
    assert (samples != ListedFid.measured[3]).any()
    kept = read_json(tmp_path / "generator.json", "")["kept"]
    features = {"name": "features", "count": bars.train.count}
    assert kept == {"step": 6, "fid": 3.0, "features": features}
    lines = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert [line["fid"] for line in lines if line.get("split") == "validation"] == FIDS


def test_measuring_changes_no_bit_of_the_training(bars: Dataset, tmp_path: Path) -> None:
    fit_generator(bars.path, tmp_path / "kept", measured("biggan"), RUNTIME, ListedFid)
    fit_generator(bars.path, tmp_path / "last", settings_of("biggan", training_steps=8), RUNTIME)
    kept, last = (load_file(tmp_path / name / "weights.safetensors") for name in ("kept", "last"))
    assert all(kept[name].equal(last[name]) for name in kept if name.startswith("live."))
    assert any(not kept[name].equal(last[name]) for name in kept)


@pytest.mark.parametrize("kind", ["biggan", "vdvae"])
def test_a_killed_fit_keeps_the_same_bytes(
    kind: str, bars: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit_generator(bars.path, tmp_path / "whole", measured(kind), RUNTIME, ListedFid)
    step = NetworkTraining.step

    def dying(self: NetworkTraining, number: int) -> torch.Tensor:
        if number == 7:  # the state was saved after five updates, when the best was of four
            raise Killed
        return step(self, number)

    ListedFid.measured.clear()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(NetworkTraining, "step", dying)
        fit_generator(bars.path, tmp_path / "killed", measured(kind), RUNTIME, ListedFid)
    del ListedFid.measured[2:]
    fit_generator(bars.path, tmp_path / "killed", measured(kind), RUNTIME, ListedFid)
    for name in ("weights.safetensors", "generator.json", "log.jsonl"):
        whole, killed = ((tmp_path / run / name).read_bytes() for run in ("whole", "killed"))
        assert whole == killed, name


def test_a_finished_generator_is_kept_and_not_measured_again(bars: Dataset, tmp_path: Path) -> None:
    fit_generator(bars.path, tmp_path, measured("vdvae"), RUNTIME, ListedFid)
    before = (tmp_path / "generator.json").read_bytes()
    fit_generator(bars.path, tmp_path, measured("vdvae"), RUNTIME, ListedFid)
    assert len(ListedFid.measured) == 4 and (tmp_path / "generator.json").read_bytes() == before


@pytest.fixture
def labeller(bars: Dataset, tmp_path: Path) -> Path:
    """The labeller.json of a network for the images of `bars`."""
    torch.manual_seed(0)
    spec = ModelSpec("wrn-10-1", "silu", 3, (8, 8, 1), bars.mean, bars.std)
    save_model(tmp_path / "labeller/model.safetensors", build_model(spec), spec)
    (tmp_path / "labeller/labeller.json").write_text("{}")
    return tmp_path / "labeller/labeller.json"


def test_the_fid_on_a_labellers_features(bars: Dataset, labeller: Path) -> None:
    fid = TrainingFid(labeller, bars.train, torch.device("cpu"))
    images = bars.train.images()
    blocks = [images[:50], images[50:]]
    assert fid(blocks, lambda: False) == pytest.approx(0, abs=1e-4)
    noisy = images // 2 + np.random.default_rng(0).integers(0, 99, images.shape, dtype=np.uint8)
    assert fid([noisy], lambda: False) > 0.001
    assert fid(blocks, lambda: True) is None
    assert fid.description["name"] == "labeller"


def test_the_command_measures_on_a_labellers_features(
    bars: Dataset, labeller: Path, tmp_path: Path
) -> None:
    settings = measured("biggan", fid_features=str(labeller), fid_measures=2)
    fit_generator(bars.path, tmp_path / "out", settings, RUNTIME, TrainingFid)
    kept = read_json(tmp_path / "out/generator.json", "")["kept"]
    assert kept["step"] in (4, 8) and kept["fid"] > 0
    assert kept["features"]["name"] == "labeller"

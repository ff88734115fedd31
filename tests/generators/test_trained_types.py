"""What all trained types share: resumption, samples by id, saved weights, refusals."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pyrobust.config.generators import GeneratorSettings
from pyrobust.data.dataset import Dataset
from pyrobust.errors import UserError
from pyrobust.generators.base import Generator
from pyrobust.generators.fitting import fit_generator
from pyrobust.generators.network_training import NetworkTraining, run_training
from pyrobust.generators.registry import GENERATORS, load_generator
from pyrobust.generators.vdvae import vdvae
from pyrobust.generators.vdvae.mixture import log_likelihood
from tests.generators import test_network_training
from tests.generators.fits import RUNTIME, fit_of
from tests.generators.test_network_training import SMALL
from tests.kills import Killed

QUICK = {
    "ddpm": {"sampler": "ddim", "sampling_steps": 2},
    "edm": {"sampling_steps": 2},
    "stylegan2": {"augment_target": 0.6, "augment_images": 100},
}
# Types whose networks take images of a power of two.
OF_SIZES = ("biggan", "stylegan2", "vdvae")


def settings_of(kind: str, **changes: object) -> GeneratorSettings:
    return test_network_training.settings_of(kind, **{**QUICK.get(kind, {}), **changes})


@pytest.fixture(scope="module", params=sorted(SMALL))
def fitted(request: pytest.FixtureRequest, bars: Dataset, tmp_path_factory) -> Path:
    """Folder of a generator that was trained for a few steps, without interruption."""
    folder = tmp_path_factory.mktemp("fitted") / request.param
    fit_generator(bars.path, folder, settings_of(request.param), RUNTIME)
    return folder


def same_weights(first: Generator, second: Generator) -> bool:
    mine, theirs = first.weights, second.weights
    return mine.keys() == theirs.keys() and all((mine[n] == theirs[n]).all() for n in mine)


def test_a_killed_fit_ends_with_the_same_bytes(
    fitted: Path, bars: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = fitted.name
    training = type(GENERATORS[kind].start_training(fit_of(bars, settings_of(kind), tmp_path)))
    update = training.update
    for killed_at in (3, 6):  # the state is saved after five steps

        def dying(self, step: int, killed_at: int = killed_at):
            if step == killed_at:
                raise Killed
            return update(self, step)

        monkeypatch.setattr(training, "update", dying)
        with pytest.raises(Killed):
            fit_generator(bars.path, tmp_path, settings_of(kind), RUNTIME)
    made = []

    def counting(self, step: int):
        made.append(step)
        return update(self, step)

    monkeypatch.setattr(training, "update", counting)
    fit_generator(bars.path, tmp_path, settings_of(kind), RUNTIME)
    assert made == [5, 6]
    for name in ("weights.safetensors", "generator.json", "log.jsonl"):
        assert (tmp_path / name).read_bytes() == (fitted / name).read_bytes(), name


def test_log_and_cost_count_the_images_of_all_updates(fitted: Path, bars: Dataset) -> None:
    settings = settings_of(fitted.name)
    images = 7 * 8 * (3 if fitted.name == "biggan" else 1)
    assert 7 * settings.images_per_step == images
    last = json.loads((fitted / "log.jsonl").read_text().splitlines()[-1])
    assert last["epoch"] * bars.train.count == pytest.approx(images)
    cost = json.loads((fitted / "cost.json").read_text())
    assert cost["images_per_second"] * cost["seconds"] == pytest.approx(images, rel=0.02)


@pytest.mark.parametrize("cut", [[range(3)], [range(240, 260)], [[499, 0, 250, 249]]])
def test_an_image_depends_on_its_id_alone(fitted: Path, cut: list[list[int]]) -> None:
    generator = load_generator(fitted)
    whole = generator.sample(np.arange(500), seed=0)
    for ids in cut:
        part = generator.sample(np.array(ids), seed=0)
        np.testing.assert_array_equal(part.images, whole.images[list(ids)])
    assert whole.images.shape == (500, 8, 8, 1)
    assert (generator.sample(np.arange(9), seed=1).images != whole.images[:9]).any()
    first = whole.images[0]
    assert (whole.images[3:] != first).any(axis=(1, 2, 3)).all()


def test_classes_take_turns_where_there_are_some(fitted: Path) -> None:
    conditions = load_generator(fitted).sample(np.arange(5), seed=0).conditions
    if fitted.name in ("ddpm", "vdvae"):
        assert conditions is None
    else:
        assert conditions.tolist() == [0, 1, 2, 0, 1]


def test_averaged_and_live_weights_are_kept_and_differ(fitted: Path) -> None:
    weights = load_generator(fitted).weights
    averages = [name for name in weights if name.startswith("average.")]
    assert len(weights) == 2 * len(averages)
    moved = [name for name in averages if (weights[name] != weights[f"live.{name[8:]}"]).any()]
    assert len(moved) > len(averages) / 2
    sampling = load_generator(fitted).network.state_dict()
    assert all((value == weights[f"average.{name}"]).all() for name, value in sampling.items())


def test_another_seed_trains_other_weights(fitted: Path, bars: Dataset, tmp_path: Path) -> None:
    settings = settings_of(fitted.name, seed=1)
    fit_generator(bars.path, tmp_path, settings, RUNTIME)
    assert not same_weights(load_generator(tmp_path), load_generator(fitted))


@pytest.mark.parametrize("seed", [20240101, 2**63 - 1])
def test_large_seeds_train(seed: int, bars: Dataset, tmp_path: Path) -> None:
    settings = settings_of("vdvae", training_steps=1, seed=seed)
    fit_generator(bars.path, tmp_path, settings, RUNTIME)
    assert load_generator(tmp_path).sample(np.arange(3), seed).images.any()


def test_each_step_and_process_draws_by_its_own_seed(bars: Dataset, tmp_path: Path) -> None:
    training = GENERATORS["vdvae"].start_training(fit_of(bars, settings_of("vdvae"), tmp_path))
    seeds = set()
    for step, rank in [(0, 0), (0, 1), (0, 256), (1, 0), (2, 0)]:
        training.processes = replace(training.processes, rank=rank)
        training.step(step)
        seeds.add(torch.initial_seed())
    assert len(seeds) == 5


def test_weights_are_taken_over_from_another_folder(
    fitted: Path, bars: Dataset, tmp_path: Path
) -> None:
    fit_generator(bars.path, tmp_path, settings_of(fitted.name, path=str(fitted)), RUNTIME)
    assert same_weights(load_generator(tmp_path), load_generator(fitted))


@pytest.mark.parametrize("fitted", OF_SIZES, indirect=True)
def test_weights_of_another_network_are_refused(
    fitted: Path, bars: Dataset, tmp_path: Path
) -> None:
    settings = settings_of(fitted.name, path=str(fitted), width=16)
    shape = r"of another shape: .* instead of .*\); use the network settings in .*, such as --pre"
    with pytest.raises(UserError, match=shape):
        fit_generator(bars.path, tmp_path / "other", settings, RUNTIME)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("kind", OF_SIZES)
def test_images_of_another_size_are_refused(kind: str, animals: Dataset, tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match="images are 3×4, but this generator requires 8×8, 16×16, 32×32 or another power",
    ):
        fit_generator(animals.path, tmp_path, settings_of(kind), RUNTIME)


def test_a_vdvae_codes_images_ever_shorter(bars: Dataset, tmp_path: Path) -> None:
    settings = settings_of("vdvae", training_steps=60, batch_size=16, warmup_steps=1)
    training = GENERATORS["vdvae"].start_training(fit_of(bars, settings, tmp_path))
    losses = [float(training.step(step)[0]) for step in range(60)]
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.5


def test_a_likelihood_that_is_infinite_once_is_skipped_and_counted(
    bars: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def once_infinite(parameters: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        calls.append(len(calls))
        result = log_likelihood(parameters, x)
        return result - torch.inf if calls[-1] == 3 else result

    monkeypatch.setattr(vdvae, "log_likelihood", once_infinite)
    settings = settings_of("vdvae", training_steps=10)
    training = GENERATORS["vdvae"].start_training(fit_of(bars, settings, tmp_path))
    run_training(training)
    (line,) = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert len(calls) == 10 and line["skipped"] == 1
    assert np.isfinite([line["loss"], line["gradient_norm"]]).all()


@pytest.mark.parametrize("kind", SMALL)
def test_a_step_whose_gradients_are_not_finite_changes_nothing(
    kind: str, bars: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = GENERATORS[kind].start_training(fit_of(bars, settings_of(kind), tmp_path))
    training.step(0)
    monkeypatch.setattr(nn.utils, "get_total_norm", lambda gradients: torch.tensor(torch.nan))
    before = {name: value.clone() for name, value in training.state().items()}
    assert training.metric_names[-1] == "skipped" and training.step(1)[-1] == 1
    # Passes of a network with spectral norm move its singular vectors, update or not.
    moved = {name for name, value in training.state().items() if not value.equal(before[name])}
    assert {name for name in moved if "parametrizations" not in name} <= {"augment.signs"}
    monkeypatch.undo()
    assert training.step(1)[-1] == 0
    assert not training.state()["average." + averaged_name(training)].equal(
        before["average." + averaged_name(training)]
    )


def averaged_name(training: NetworkTraining) -> str:
    return next(name for name, _ in training.average.network.named_parameters())

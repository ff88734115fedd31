"""DDPM and EDM as generators: fitted, killed, sampled, saved, and taken over from others."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pyrobust.data.dataset import Dataset
from pyrobust.data.store import SampleStore
from pyrobust.errors import UserError
from pyrobust.files import read_json
from pyrobust.generators import fitting
from pyrobust.generators.base import Samples
from pyrobust.generators.diffusion.ddpm import DdpmGenerator, NoiseSchedule
from pyrobust.generators.diffusion.diffusion import DiffusionTraining
from pyrobust.generators.diffusion.unet import DESIGNS, build_unet, unet_config
from pyrobust.generators.fitting import fit_generator
from pyrobust.generators.network_training import run_training
from pyrobust.generators.registry import load_generator
from pyrobust.generators.sampling import SamplingWatch, sample_part
from pyrobust.generators.trained import TrainedGenerator
from tests.generators.diffusion.conftest import quick
from tests.generators.fits import RUNTIME, fit_of
from tests.kills import Killed


def kill_at(patch: pytest.MonkeyPatch, when: int) -> None:
    update = DiffusionTraining.update

    def killed(self: DiffusionTraining, step: int) -> torch.Tensor:
        if step == when:
            raise Killed
        return update(self, step)

    patch.setattr(DiffusionTraining, "update", killed)


def test_a_killed_part_loses_no_more_than_four_blocks(
    fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample_part(fitted, 1, 130, tmp_path / "whole")  # ids 130 to 259, in blocks of 20
    sample_block, computed = TrainedGenerator.sample_block, []

    def dying(self: TrainedGenerator, block: int, seed: int) -> Samples:
        if block == 11 and len(computed) == 5:
            raise Killed
        computed.append(block)
        return sample_block(self, block, seed)

    monkeypatch.setattr(TrainedGenerator, "sample_block", dying)
    with pytest.raises(Killed):
        sample_part(fitted, 1, 130, tmp_path / "killed")
    assert computed == [6, 7, 8, 9, 10]
    sample_part(fitted, 1, 130, tmp_path / "killed")
    assert computed[5:] == [10, 11, 12]
    for path in (tmp_path / "whole").glob("*.npy"):
        assert (tmp_path / "killed" / path.name).read_bytes() == path.read_bytes()


def test_the_time_is_reported_and_images_are_counted_within_a_block(
    fitted: Path, caplog: pytest.LogCaptureFixture
) -> None:
    generator, counted = load_generator(fitted), []
    watch = SamplingWatch(generator, 1000, lambda units, note="": counted.append(units))
    with caplog.at_level("INFO"):
        with watch.block(15):
            generator.sample(np.arange(15), 0)
            told = list(caplog.messages)
        with watch.block(20):
            generator.sample(np.arange(20, 40), 0)
    passes = {"ddpm": 4, "edm": 7}[fitted.name]
    assert len(counted) == 2 * (passes + 1)
    assert sum(counted[:passes]) == 15
    assert sum(counted[passes + 1 : -1]) == 20
    assert [message[:37] for message in told] == ["sampling 1,000 images will take about"]
    assert caplog.messages == told


def test_parts_of_any_size_hold_the_same_images(fitted: Path, tmp_path: Path) -> None:
    sample_part(fitted, 0, 60, tmp_path / "whole")
    for part in range(2):
        sample_part(fitted, part, 30, tmp_path / str(part))
    parts = [SampleStore.open(tmp_path / str(part)).images() for part in range(2)]
    whole = SampleStore.open(tmp_path / "whole")
    np.testing.assert_array_equal(np.concatenate(parts), whole.images())
    assert whole.labelled == load_generator(fitted).conditional
    assert whole.provenance["sampling"]["sampling_steps"] == 4


def test_other_settings_of_sampling_need_no_new_training(
    shades: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit_generator(shades.path, tmp_path, quick("ddpm"), RUNTIME)
    before = (tmp_path / "weights.safetensors").read_bytes()
    monkeypatch.setattr(fitting, "generator_class", lambda kind: TrainedGenerator)
    changed = quick("ddpm", sampler="ddim", sampling_steps=3)
    fit_generator(shades.path, tmp_path, changed, RUNTIME)
    assert (tmp_path / "weights.safetensors").read_bytes() == before
    facts = read_json(tmp_path / "generator.json", "")
    assert (facts["settings"]["sampler"], facts["settings"]["sampling_steps"]) == ("ddim", 3)
    assert load_generator(tmp_path).provenance()["sampling"]["sampler"] == "ddim"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_generator_without_its_result_is_found_again(
    fitted: Path, shades: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A workflow removes the result of a rule before it runs the rule again."""
    folder = Path(shutil.copytree(fitted, tmp_path / "generator"))
    before = contents(folder)
    (folder / "generator.json").unlink()
    settings = load_generator(fitted).spec.settings
    monkeypatch.setattr(fitting, "generator_class", lambda kind: TrainedGenerator)
    fit_generator(shades.path, folder, settings, RUNTIME)
    assert contents(folder) == before
    (folder / "generator.json").unlink()
    larger = settings.model_copy(update={"part_size": 7})
    fit_generator(shades.path, folder, larger, RUNTIME)
    assert (folder / "weights.safetensors").read_bytes() == before["weights.safetensors"]
    assert load_generator(folder).spec.settings.part_size == 7


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("generator", "path is .*generator, which is also the output folder; to change sampler"),
        ("gone", r"gone does not contain a UNet2DModel in diffusers format \(there is no such"),
    ],
)
def test_a_refused_fit_leaves_the_generator_as_it_was(
    shades: Dataset, tmp_path: Path, path: str, message: str
) -> None:
    folder = tmp_path / "generator"
    fit_generator(shades.path, folder, quick("ddpm"), RUNTIME)
    before = contents(folder)
    settings = quick("ddpm", sampler="ddim", path=str(tmp_path / path))
    with pytest.raises(UserError, match=message):
        fit_generator(shades.path, folder, settings, RUNTIME)
    assert contents(folder) == before


def test_a_fit_killed_over_another_one_leaves_that_one_whole(
    shades: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit_generator(shades.path, tmp_path, quick("ddpm"), RUNTIME)
    before = load_generator(tmp_path).provenance()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, 7)
        fit_generator(shades.path, tmp_path, quick("ddpm", seed=1), RUNTIME)
    assert load_generator(tmp_path).provenance() == before
    fit_generator(shades.path, tmp_path, quick("ddpm", seed=1), RUNTIME)
    assert load_generator(tmp_path).provenance() != before


@pytest.mark.parametrize("sampler", ["ancestral", "ddim", "dpm_solver"])
def test_every_sampler_draws_images(
    shades: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    # The ancestral one takes all steps of training, which are fewer here, and as noisy.
    short = NoiseSchedule.linear(50, 2e-3, 0.4)
    monkeypatch.setattr(NoiseSchedule, "linear", lambda *_: short)
    steps = 1000 if sampler == "ancestral" else 5
    settings = quick("ddpm", sampler=sampler, sampling_steps=steps, training_steps=2)
    fit_generator(shades.path, tmp_path, settings, RUNTIME)
    generator = load_generator(tmp_path)
    assert isinstance(generator, TrainedGenerator)
    passes: list[int] = []
    generator.network.register_forward_hook(lambda *_: passes.append(1))
    images = generator.sample(np.arange(4), 0).images
    assert len(passes) == (50 if sampler == "ancestral" else 5)
    assert images.shape == (4, 4, 4, 1)
    assert images.dtype == np.uint8
    assert images.std() > 20


def test_weights_of_another_type_are_refused(fitted: Path, shades: Dataset, tmp_path: Path) -> None:
    kind = load_generator(fitted).spec.settings.type
    other = "edm" if kind == "ddpm" else "ddpm"
    with pytest.raises(UserError, match=f"has type {kind}, but {other} is required"):
        fit_generator(shades.path, tmp_path / "other", quick(other, path=str(fitted)), RUNTIME)


def hub_folder(folder: Path, channels: int = 1) -> torch.nn.Module:
    """Write a folder as the hub of diffusers has it, with another network than ours."""
    torch.manual_seed(1)
    config = unet_config(DESIGNS["tiny"], (4, 4, channels), 0.0, None) | {
        "block_out_channels": [16, 24],
        "sample_size": 4,
    }
    network = build_unet(config)
    torch.nn.init.normal_(network.get_parameter("conv_out.weight"), std=0.1)
    network.save_pretrained(folder / "unet")  # type: ignore[operator]
    (folder / "scheduler").mkdir()
    (folder / "scheduler/scheduler_config.json").write_text(
        '{"num_train_timesteps": 100, "beta_start": 0.001, "beta_end": 0.1, '
        '"beta_schedule": "linear", "prediction_type": "epsilon", "lambda_min_clipped": -Infinity}'
    )
    return network


def test_a_folder_of_the_hub_is_sampled_without_training(shades: Dataset, tmp_path: Path) -> None:
    network = hub_folder(tmp_path / "hub")
    settings = quick("ddpm", path=str(tmp_path / "hub"))
    fit_generator(shades.path, tmp_path / "generator", settings, RUNTIME)
    generator = load_generator(tmp_path / "generator")
    assert isinstance(generator, TrainedGenerator)
    assert generator.facts["scheduler"]["num_train_timesteps"] == 100
    for name, value in network.state_dict().items():
        assert torch.equal(generator.network.state_dict()[name], value)
    assert generator.sample(np.arange(6), 0).images.shape == (6, 4, 4, 1)


def test_a_hub_folder_for_other_images_is_refused(shades: Dataset, tmp_path: Path) -> None:
    hub_folder(tmp_path / "hub", channels=3)
    with pytest.raises(
        UserError, match=r"the network in .*hub takes images of 4×4 with 3 input channels, 3 output"
    ):
        fit_generator(
            shades.path, tmp_path / "g", quick("ddpm", path=str(tmp_path / "hub")), RUNTIME
        )


def test_an_edm_without_classes_asks_for_none(shades: Dataset, tmp_path: Path) -> None:
    settings = quick("edm", conditional=False, training_steps=2)
    fit_generator(shades.path, tmp_path, settings, RUNTIME)
    generator = load_generator(tmp_path)
    assert not generator.conditional
    assert generator.sample(np.arange(3), 0).conditions is None


@pytest.mark.parametrize(("theirs", "flag"), [(True, "--conditional"), (False, "--no-cond")])
def test_an_edm_with_classes_and_one_without_do_not_trade_weights(
    shades: Dataset, tmp_path: Path, theirs: bool, flag: str
) -> None:
    settings = quick("edm", conditional=theirs, training_steps=1)
    fit_generator(shades.path, tmp_path / "theirs", settings, RUNTIME)
    path = str(tmp_path / "theirs")
    message = f"has conditional = {theirs}; use {flag}"
    with pytest.raises(UserError, match=message):
        fit_generator(
            shades.path, tmp_path / "ours", quick("edm", conditional=not theirs, path=path), RUNTIME
        )
    assert not (tmp_path / "ours").exists()


def test_the_rate_rises_and_then_stays(shades: Dataset, tmp_path: Path) -> None:
    settings = quick("ddpm", warmup_steps=4, learning_rate=0.4)
    task = DdpmGenerator.start_training(fit_of(shades, settings, tmp_path))
    rates = [task.learning_rate(step) for step in (0, 1, 3, 4, 100)]
    assert rates == pytest.approx([0.1, 0.2, 0.4, 0.4, 0.4])


def test_a_network_is_measured_while_it_learns_and_a_killed_run_measures_on(
    shades: Dataset, tmp_path: Path
) -> None:
    def run(folder: Path, killed_at: int | None = None) -> list[dict[str, float]]:
        task = DdpmGenerator.start_training(fit_of(shades, quick("ddpm"), folder))
        calls: list[int] = []

        def measure(network: torch.nn.Module, stopping: Callable[[], bool]) -> dict[str, float]:
            calls.append(len(calls))
            if len(calls) == killed_at:
                raise Killed
            return {"norm": sum(float(value.norm()) for value in network.parameters())}

        task.measure = measure
        return run_training(task, validations=3).history

    whole = run(tmp_path / "whole")
    assert [entry["step"] for entry in whole] == [4, 8, 12]
    assert len({entry["norm"] for entry in whole}) == 3
    with pytest.raises(Killed):
        run(tmp_path / "killed", killed_at=3)
    assert run(tmp_path / "killed") == whole


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddpm", "edm"])
def test_a_tiny_model_learns_the_shades(shades: Dataset, tmp_path: Path, kind: str) -> None:
    settings = quick(kind, training_steps=400, batch_size=32, sampling_steps=20, learning_rate=2e-3)
    fit_generator(shades.path, tmp_path, settings, RUNTIME)
    samples = load_generator(tmp_path).sample(np.arange(250), 0)
    means = samples.images.mean(axis=(1, 2, 3))
    if samples.conditions is not None:
        for label, shade in enumerate((40, 120, 200)):
            assert np.abs(means[samples.conditions == label] - shade).mean() < 15
    near = np.abs(means[:, None] - np.array([40, 120, 200])).argmin(axis=1)
    assert np.bincount(near, minlength=3).min() > 25

"""Trainings whose device is not the host, saved and resumed at every step."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pyrobust.config import parse_settings
from pyrobust.config.data import DatasetSettings
from pyrobust.config.generators import GeneratorSettings
from pyrobust.config.training import LabellerSettings, TrainSettings
from pyrobust.data.dataset import Dataset
from pyrobust.data.prepare import make_dataset
from pyrobust.errors import UserError
from pyrobust.generators.base import Fit
from pyrobust.generators.registry import GENERATORS
from pyrobust.generators.trained import TrainedGenerator
from pyrobust.models import ModelSpec
from pyrobust.training.classifier import TrainingInputs
from pyrobust.training.data_parallel import Processes
from pyrobust.training.loop import LoopSettings, Task, run_loop
from pyrobust.training.runtime import Runtime
from pyrobust.training.train_classifier import _identity_of
from pyrobust.training.train_labeller import labeller_task
from pyrobust.training.train_robust import plan_batches, robust_task
from tests.kills import Killed
from tests.stand_in_device import MixedDevicesError, OnDevice, reads, stand_in_device

STEPS, BATCH = 4, 8
RUNTIME = Runtime(device="cpu", trackers=())
OF_CLASSIFIERS: dict[str, Any] = {
    "architecture": "wrn-10-1",
    "batch_size": BATCH,
    "epoch_size": BATCH * STEPS,
    "epochs": 1,
}
TRAINED = sorted(name for name, kind in GENERATORS.items() if issubclass(kind, TrainedGenerator))
ROBUST = ["trades", "adversarial_training", "mart", "awp"]

MakeTask = Callable[[torch.device], Task]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 noise images of 8×8 in 2 classes."""
    folder = tmp_path_factory.mktemp("noise")
    images = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3), np.uint8)
    (folder / "noise").mkdir()
    (folder / "noise/classes.txt").write_text("a\nb")
    for split in ("train", "test"):
        np.savez(folder / f"noise/{split}.npz", image=images, label=np.arange(64) % 2)
    make_dataset("noise", folder, folder / "dataset", DatasetSettings(validation_size=8))
    return folder / "dataset"


def maker(name: str, dataset: Path, folder: Path) -> MakeTask:
    """Return what makes the task of an objective, of the labeller or of a generator."""
    inputs = TrainingInputs.open(dataset)

    def robust(device: torch.device) -> Task:
        objective = {"awp_gamma": 0.01} if name == "awp" else {"objective": name}
        settings = TrainSettings(
            **OF_CLASSIFIERS,
            **objective,
            mixing_factor=1,
            attack_steps=1,
            validations=2,
            gap_images=4,
            batch_norm_updates="adversarial" if name == "adversarial_training" else "both",
        )
        plan = plan_batches(inputs, settings)
        return robust_task(inputs, plan, settings, STEPS, RUNTIME, Processes(device))

    def labeller(device: torch.device) -> Task:
        settings = LabellerSettings(**OF_CLASSIFIERS)
        return labeller_task(inputs, settings, STEPS, RUNTIME, Processes(device))

    def generator(device: torch.device) -> Task:
        values = {"type": name, "preset": "tiny", "batch_size": BATCH, "training_steps": STEPS}
        settings = parse_settings(GeneratorSettings, values)
        fit = Fit(Dataset.open(dataset), settings, folder, RUNTIME, Processes(device))
        kind: Any = GENERATORS[name]
        return kind.start_training(fit)

    return robust if name in ROBUST else labeller if name == "labeller" else generator


def train(make_task: MakeTask, folder: Path, validations: int, kills: bool) -> dict[str, Tensor]:
    """Train on the device, killed in every step but the first if asked; return the state."""
    settings = LoopSettings(STEPS, BATCH, validations, log_steps=3, save_steps=1, trackers=())
    with stand_in_device() as device:
        for last in range(1, STEPS + 1) if kills else [STEPS]:
            task = make_task(device)
            make_step = task.step

            def step(number: int, last: int = last, make_step: Any = make_step) -> Tensor:
                if number == last:
                    raise Killed
                return make_step(number)  # type: ignore[no-any-return]

            task.step = step  # type: ignore[method-assign]
            try:
                run_loop(task, settings, folder, {"settings": {}}, "train", Processes(device))
            except Killed:
                continue
        return {name: value.cpu() for name, value in task.state().items()}


QUICK = ("trades", "labeller")
ALL = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
    for name in (*ROBUST, "labeller", *TRAINED)
]


@pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")
@pytest.mark.parametrize("name", ALL)
def test_a_training_resumes_at_every_step_on_a_device(
    name: str, dataset: Path, tmp_path: Path
) -> None:
    make_task, validations = maker(name, dataset, tmp_path), 2 * (name in ROBUST)
    whole = train(make_task, tmp_path / "whole", validations, kills=False)
    killed = train(make_task, tmp_path / "killed", validations, kills=True)
    assert whole.keys() == killed.keys()
    assert all(torch.equal(whole[key], killed[key]) for key in whole)
    logs = [(tmp_path / run / "log.jsonl").read_text() for run in ("whole", "killed")]
    assert logs[0] == logs[1]


@pytest.mark.parametrize("name", ALL[: len(ROBUST) + 1])
def test_a_step_of_a_classifier_never_waits_for_the_device(
    name: str, dataset: Path, tmp_path: Path
) -> None:
    with stand_in_device() as device:
        task = maker(name, dataset, tmp_path)(device)
        reads.clear()
        for step in range(2):
            metrics = task.step(step)
        assert not reads
        assert isinstance(metrics, OnDevice)
    host = maker(name, dataset, tmp_path)(torch.device("cpu"))
    expected = [host.step(step) for step in range(2)][-1]
    torch.testing.assert_close(metrics.held, expected, rtol=1e-4, atol=1e-5)


def test_the_stand_in_refuses_what_a_gpu_would() -> None:
    with stand_in_device() as device:
        there = torch.ones(3, device=device)
        assert (there + 1).device == device and (there + torch.tensor(1.0)).device == device
        assert (there.cpu() + torch.ones(3)).tolist() == [2, 2, 2]
        with pytest.raises(MixedDevicesError):
            there + torch.ones(3)
        with pytest.raises(MixedDevicesError):
            torch.stack([there, torch.ones(3)])
        reads.clear()
        assert bool(there.sum() == 3)
        assert reads


class OnlyThere(torch.nn.Module):
    """A network without kernels for the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(x, OnDevice):
            raise NotImplementedError("no kernel for the CPU")
        return self.layer(x.flatten(1))


def test_a_network_that_fails_on_the_cpu_is_recognised_by_its_logits_on_the_device() -> None:
    network = OnlyThere()
    spec = ModelSpec("given:OnlyThere", "silu", 10, (8, 8, 1), (0.0,), (1.0,))
    with stand_in_device() as device:
        first = _identity_of(network, spec, device)
        with torch.no_grad():
            network.layer.bias[3] += 5
        other = _identity_of(network, spec, device)
    assert first["network_logits"] != other["network_logits"]
    with pytest.raises(UserError, match="no kernel for the CPU"):
        _identity_of(network, spec, torch.device("cpu"))

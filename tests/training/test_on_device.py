"""A training on each device: it resumes with its own bits, and a GPU does what the CPU does.

Needs neither scikit-learn nor tensorboard: benchmarks/gpu.sh runs it on bare machines.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pyrobust.config.data import DatasetSettings
from pyrobust.config.training import TrainSettings
from pyrobust.data.prepare import make_dataset
from pyrobust.data.store import StoreWriter
from pyrobust.training.classifier import ClassifierTask, TrainingInputs
from pyrobust.training.data_parallel import Processes
from pyrobust.training.loop import LoopSettings, run_loop
from pyrobust.training.runtime import Runtime
from pyrobust.training.train_robust import plan_batches, robust_task
from tests.kills import Killed

CLASSES = tuple("abcde")
STEPS = 7
CPU = torch.device("cpu")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Processes:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    return Processes(torch.device("cuda", 0) if request.param == "cuda" else CPU)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> TrainingInputs:
    """100 noise images of 8×8 and as many generated ones."""
    folder = tmp_path_factory.mktemp("noise")
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (100, 8, 8, 3), np.uint8)
    labels = np.arange(100) % len(CLASSES)
    (folder / "noise").mkdir()
    (folder / "noise/classes.txt").write_text("\n".join(CLASSES))
    for split in ("train", "test"):
        np.savez(folder / f"noise/{split}.npz", image=images, label=labels)
    make_dataset("noise", folder, folder / "dataset", DatasetSettings(validation_size=20))
    writer = StoreWriter(folder / "samples", (8, 8, 3), CLASSES, 100, {}, "the tests")
    writer.append(images, labels)
    writer.finish()
    return TrainingInputs.open(folder / "dataset", folder / "samples")


def make_task(
    inputs: TrainingInputs,
    processes: Processes,
    cuda_graph: bool = False,
    resident_mb: int = 64,
    **changes: Any,
) -> ClassifierTask:
    values: dict[str, Any] = {
        "architecture": "wrn-10-1",
        "epsilon": "0.1",
        "batch_size": 8,
        "epochs": 1.0,
        "epoch_size": 8 * STEPS,
        "mixing_factor": 0.5,
        "validations": 2,
        "attack_steps": 2,
        "warmup": 0.0,
        "zero_logits": False,
    }
    settings = TrainSettings(**{**values, **changes})
    runtime = Runtime(resident_mb=resident_mb, cuda_graph=cuda_graph)
    plan = plan_batches(inputs, settings)
    return robust_task(inputs, plan, settings, STEPS, runtime, processes)


def run(task: ClassifierTask, folder: Path, processes: Processes) -> dict[str, Tensor]:
    settings = LoopSettings(STEPS, batch_size=8, validations=2, save_steps=1, trackers=())
    run_loop(task, settings, folder, {"settings": {}}, "train", processes)
    return {name: value.cpu().clone() for name, value in task.state().items()}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_killed_training_ends_with_the_same_bits(
    precision: str,
    inputs: TrainingInputs,
    processes: Processes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = run(make_task(inputs, processes, precision=precision), tmp_path / "whole", processes)
    for last in (2, 5):
        task = make_task(inputs, processes, precision=precision)
        step = task.step

        def kill(number: int, step: Any = step, last: int = last) -> Tensor:
            if number == last:
                raise Killed
            return step(number)

        monkeypatch.setattr(task, "step", kill)
        with pytest.raises(Killed):
            run(task, tmp_path / "killed", processes)
    resumed = run(make_task(inputs, processes, precision=precision), tmp_path / "killed", processes)
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


@pytest.mark.gpu
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_cuda_graph_trains_with_the_same_bits(
    norm: str, precision: str, inputs: TrainingInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    gpu = Processes(torch.device("cuda", 0))
    eager, graph = (
        make_task(inputs, gpu, cuda_graph=graph, norm=norm, precision=precision)
        for graph in (False, True)
    )
    for step in range(4):
        assert torch.equal(eager.step(step), graph.step(step))


@pytest.mark.gpu
@pytest.mark.parametrize("resident_mb", [64, 0])
def test_a_gpu_follows_the_cpu(
    resident_mb: int, inputs: TrainingInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    tasks = [
        make_task(inputs, Processes(torch.device(name)), resident_mb=resident_mb)
        for name in ("cpu", "cuda")
    ]
    for step in range(3):
        ours, theirs = (task.step(step).cpu() for task in tasks)
        torch.testing.assert_close(theirs, ours, rtol=0.02, atol=0.02)
    validations = [task.validate(lambda: False) for task in tasks]
    assert validations[0] == pytest.approx(validations[1], abs=0.05)

"""Training of the labeller f_NR, a non-robust classifier (section 3.3): `train-labeller`."""

from pathlib import Path
from typing import Any

import torch

from pyrobust import ops
from pyrobust.attacks.threat_model import is_broken
from pyrobust.config.training import LabellerSettings
from pyrobust.data.store import SampleStore
from pyrobust.models import ImageClassifier
from pyrobust.training.batches import BatchPlan
from pyrobust.training.classifier import ClassifierTask, TrainingInputs
from pyrobust.training.data_parallel import Processes
from pyrobust.training.objectives import CrossEntropy
from pyrobust.training.runtime import Runtime
from pyrobust.training.train_classifier import classifier_task, train_classifier


def train_labeller(
    dataset: Path, output: Path, settings: LabellerSettings, runtime: Runtime
) -> None:
    """Train a classifier on the original images and write it with its accuracy to `output`.

    Writes `model.safetensors` (the averaged weights at the end), `log.jsonl`, `cost.json` and,
    last, `labeller.json`.

    Raises:
        UserError: inputs that are missing or do not fit, or a loss that diverges.
        Interrupted: a scheduler asked for it; the same call resumes.
    """
    inputs = TrainingInputs.open(dataset)
    train_classifier(
        inputs,
        output,
        settings,
        runtime,
        description="train labeller",
        result="labeller.json",
        make_task=lambda steps, processes: labeller_task(
            inputs, settings, steps, runtime, processes
        ),
        record=lambda task, run, processes: _record(task, inputs, processes),
    )


def labeller_task(
    inputs: TrainingInputs,
    settings: LabellerSettings,
    total_steps: int,
    runtime: Runtime,
    processes: Processes,
) -> ClassifierTask:
    """Return cross-entropy on original images as a task of the training loop."""
    plan = BatchPlan(settings.batch_size, 1.0, inputs.dataset.train.count, 0, settings.seed)
    smoothing = (settings.label_smoothing, 0.0)
    return classifier_task(
        inputs, plan, settings, CrossEntropy(), smoothing, total_steps, runtime, processes
    )


@torch.no_grad()
def accuracy(model: ImageClassifier, store: SampleStore, device: torch.device) -> float:
    """Return the fraction of the store's images that `model` classifies correctly."""
    labels, correct = torch.from_numpy(store.labels()).to(device), 0
    for first, images in store.blocks(256):
        block = torch.from_numpy(images).to(device)
        ids = torch.arange(len(block), device=device)
        x = ops.gather_augment(block, ids, ids, seed=0, epoch=0, padding=0, flip=False)
        correct += int((~is_broken(model(x), labels[first : first + len(block)])).sum())
    return correct / store.count


def _record(task: ClassifierTask, inputs: TrainingInputs, processes: Processes) -> dict[str, Any]:
    model, splits = task.averaged_model(), inputs.dataset
    return {
        "validation_accuracy": accuracy(model, splits.validation, processes.device),
        "test_accuracy": accuracy(model, splits.test, processes.device),
        "num_test_images": splits.test.count,
    }

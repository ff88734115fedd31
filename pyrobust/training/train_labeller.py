"""Training of the labeller f_NR, a non-robust classifier (section 3.3): `train-labeller`."""

from pathlib import Path

import torch
from torch import Tensor

from pyrobust import ops
from pyrobust.attacks.threat_model import is_broken
from pyrobust.config.training import LabellerSettings
from pyrobust.cost import write_cost
from pyrobust.data.store import SampleStore
from pyrobust.files import write_json
from pyrobust.models import (
    ImageClassifier,
    ModelSpec,
    logits_in,
    save_model,
    tracked_statistics,
)
from pyrobust.models.batch_norm import running_momentum, running_statistics
from pyrobust.training.batches import BatchPlan
from pyrobust.training.classifier import ClassifierTask, TrainingInputs, new_model
from pyrobust.training.data_parallel import Processes, joined_processes
from pyrobust.training.loader import Loader
from pyrobust.training.loop import remove_state, run_loop
from pyrobust.training.runtime import Runtime
from pyrobust.training.schedules import Schedule, averaging_decay_at, count_steps, scaled_rate
from pyrobust.training.weight_averaging import AveragedSgd


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
    spec = inputs.spec(settings.architecture, settings.activation)
    runtime.prepare()
    steps = count_steps(settings.epochs, settings.epoch_size, settings.batch_size)
    with (
        joined_processes(runtime.device) as processes,
        processes.writing(output, result="labeller.json"),
    ):
        together = processes.normalized_together(settings.batch_size)
        facts = {"settings": settings.model_dump(mode="json"), "batch_norm_images": together}
        task = _labeller_task(inputs, spec, settings, steps, runtime.resident_mb, processes)
        run = run_loop(
            task,
            runtime.loop_settings(steps, settings.batch_size, validations=0),
            output,
            {**facts, **inputs.identity()},
            "train labeller",
            processes,
        )
        if processes.is_main:
            model = task.averaged_model()
            save_model(output / "model.safetensors", model, spec)
            rate = settings.batch_size * run.step / run.training_seconds
            write_cost(output / "cost.json", run.seconds, str(processes.device), rate)
            splits = inputs.dataset
            record = {
                **facts,
                "spec": spec.to_json(),
                "validation_accuracy": accuracy(model, splits.validation, processes.device),
                "test_accuracy": accuracy(model, splits.test, processes.device),
                "num_test_images": splits.test.count,
            }
            write_json(output / "labeller.json", record)
            remove_state(output)


class CrossEntropyStep:
    """Makes the update of step t from batch t: cross-entropy on augmented original images."""

    def __init__(
        self,
        model: ImageClassifier,
        optimizer: AveragedSgd,
        loader: Loader,
        schedule: Schedule,
        averaging_decay: float,
        precision: str,
        processes: Processes,
    ) -> None:
        self._model, self._optimizer, self._loader = model, optimizer, loader
        self._schedule, self._averaging_decay = schedule, averaging_decay
        self._logits, self._processes = logits_in(precision, model), processes
        self._statistics = running_statistics(model)

    def __call__(self, step: int) -> Tensor:
        """Make update `step`, counted from 0; return (loss, accuracy) of the batch."""
        batch = self._loader.batch(step)
        with tracked_statistics(self._model, running_momentum(step + 1)):
            logits = self._logits(batch.x)
        loss, grad_logits = ops.cross_entropy(logits.detach(), batch.target_probs)
        torch.autograd.backward(logits, grad_logits.div_(len(logits)))
        correct = (~is_broken(logits.detach(), batch.labels)).float()
        metrics = torch.stack([loss.mean(), correct.mean()])
        self._processes.average_([*self._optimizer.gradients(), *self._statistics, metrics])
        self._optimizer.step(
            self._schedule.learning_rate(step),
            self._schedule.momentum_at(step),
            averaging_decay_at(step, self._averaging_decay, start=0),
        )
        return metrics


@torch.no_grad()
def accuracy(model: ImageClassifier, store: SampleStore, device: torch.device) -> float:
    """Return the share of the store's images that `model` classifies rightly."""
    labels, correct = torch.from_numpy(store.labels()).to(device), 0
    for first, images in store.blocks(256):
        block = torch.from_numpy(images).to(device)
        ids = torch.arange(len(block), device=device)
        x = ops.gather_augment(block, ids, ids, seed=0, epoch=0, padding=0, flip=False)
        correct += int((~is_broken(model(x), labels[first : first + len(block)])).sum())
    return correct / store.count


def _labeller_task(
    inputs: TrainingInputs,
    spec: ModelSpec,
    settings: LabellerSettings,
    steps: int,
    resident_mb: int,
    processes: Processes,
) -> ClassifierTask:
    model = new_model(spec, settings.seed, True, settings.channels_last, processes.device)
    optimizer = AveragedSgd(model, settings.weight_decay)
    plan = BatchPlan(settings.batch_size, 1.0, inputs.dataset.train.count, 0, settings.seed)
    loader = Loader(
        plan,
        inputs.dataset.train,
        None,
        inputs.augmentation,
        smoothing=(settings.label_smoothing, 0.0),
        processes=processes,
        resident_bytes=resident_mb << 20,
        channels_last=settings.channels_last,
    )
    schedule = Schedule(
        "cosine",
        scaled_rate(settings.learning_rate, settings.batch_size),
        settings.momentum,
        settings.warmup,
        steps,
        settings.epoch_size / settings.batch_size,
    )
    step = CrossEntropyStep(
        model,
        optimizer,
        loader,
        schedule,
        settings.averaging_decay,
        settings.precision,
        processes,
    )
    return ClassifierTask(step, ("loss", "accuracy"), schedule.log_facts, optimizer)

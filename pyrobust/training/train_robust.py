"""Robust training with generated data: the verb `train`."""

from pathlib import Path
from typing import Any

from torch import nn

from pyrobust.attacks.pgd import pgd40
from pyrobust.attacks.threat_model import ThreatModel
from pyrobust.config.radius import check_radius, parse_epsilon
from pyrobust.config.training import TrainSettings
from pyrobust.data.store import SampleStore
from pyrobust.models import ImageClassifier
from pyrobust.models.spec import GIVEN, Normalization
from pyrobust.training.batches import BatchPlan
from pyrobust.training.classifier import ClassifierTask, TrainingInputs, Validation
from pyrobust.training.data_parallel import Processes
from pyrobust.training.early_stopping import BEST_BY, RobustValidation
from pyrobust.training.loop import Run
from pyrobust.training.objectives import make_objective
from pyrobust.training.overfitting import GapValidation
from pyrobust.training.runtime import Runtime
from pyrobust.training.train_classifier import classifier_task, train_classifier

VALIDATION_ATTACK = "pgd40"


def train_robust(
    dataset: Path,
    samples: Path | None,
    output: Path,
    settings: TrainSettings,
    runtime: Runtime,
    network: nn.Module | None = None,
    normalization: Normalization | None = None,
) -> None:
    """Train a robust classifier and write it with its record to `output`.

    Writes `model.safetensors` (the averaged weights with the best validation result, the later of
    equals), `log.jsonl`, `cost.json` and, last, `training.json`. The test split is not read.

    Args:
        network: normalised images (N, C, H, W) to logits (N, K). A copy of it is trained from its
            present weights, in place of a new network of `settings.architecture`;
            `load_model(path, device, network)` reads it back.
        normalization: mean and standard deviation of each channel by which images are normalised,
            in place of those of the training images.

    Raises:
        UserError: inputs are missing or do not fit, or the loss diverges.
        Interrupted: a scheduler asked the run to stop; the same call resumes.
    """
    if network is not None:
        given = f"{GIVEN}{type(network).__name__}"
        settings = settings.model_copy(update={"architecture": given})
    uses_generated = round(settings.mixing_factor * settings.batch_size) < settings.batch_size
    inputs = TrainingInputs.open(dataset, samples if uses_generated else None, normalization)
    check_radius(settings.norm, settings.epsilon, inputs.dataset.image_shape)
    plan = plan_batches(inputs, settings)
    train_classifier(
        inputs,
        output,
        settings,
        runtime,
        description=f"train seed {settings.seed}",
        result="training.json",
        make_task=lambda steps, processes: robust_task(
            inputs, plan, settings, steps, runtime, processes, network
        ),
        record=lambda task, run, processes: _record(run, inputs),
        network=network,
    )


def plan_batches(inputs: TrainingInputs, settings: TrainSettings) -> BatchPlan:
    """Return the composition of the batches.

    Raises:
        UserError: the mixing factor needs generated images and there are none.
    """
    return BatchPlan(
        batch_size=settings.batch_size,
        mixing_factor=settings.mixing_factor,
        num_original=inputs.dataset.train.count,
        num_generated=inputs.generated.count if inputs.generated is not None else 0,
        seed=settings.seed,
        emulated_workers=settings.emulated_workers,
    )


def robust_task(
    inputs: TrainingInputs,
    plan: BatchPlan,
    settings: TrainSettings,
    total_steps: int,
    runtime: Runtime,
    processes: Processes,
    network: nn.Module | None = None,
) -> ClassifierTask:
    """Return the objective of the settings on mixed batches as a task of the training loop."""
    of_originals = settings.label_smoothing if settings.label_smoothing_on == "all" else 0.0
    return classifier_task(
        inputs,
        plan,
        settings,
        make_objective(settings),
        (of_originals, settings.label_smoothing),
        total_steps,
        runtime,
        processes,
        lambda live: _validation(inputs, settings, live, processes),
        network,
    )


def _validation(
    inputs: TrainingInputs, settings: TrainSettings, live: ImageClassifier, processes: Processes
) -> Validation:
    """Return the validation of a run, including the generalisation gap if `gap_images` > 0."""
    dataset, count = inputs.dataset, settings.gap_images
    attack = pgd40(ThreatModel(settings.norm, parse_epsilon(settings.epsilon)))

    def measure(store: SampleStore, num_images: int | None = None) -> RobustValidation:
        batch_size = settings.batch_size
        return RobustValidation(store, attack, batch_size, settings.seed, processes, num_images)

    validation = measure(dataset.validation)
    if count == 0:
        return validation
    parts = (measure(dataset.train, count), measure(dataset.validation, count))
    return GapValidation(validation, *parts, live)


def _record(run: Run, inputs: TrainingInputs) -> dict[str, Any]:
    best = run.best(BEST_BY)
    return {
        "steps": run.step,
        "best_step": best["step"],
        "validation": {
            **{key: best[key] for key in ("clean_accuracy", "robust_accuracy")},
            "num_images": inputs.dataset.validation.count,
            "attack": VALIDATION_ATTACK,
        },
        "history": run.history,
        "num_original": inputs.dataset.train.count,
        "num_generated": inputs.generated.count if inputs.generated is not None else 0,
    }

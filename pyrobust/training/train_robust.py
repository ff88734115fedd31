"""Robust training with generated data: the verb `train`."""

from pathlib import Path
from typing import Any

from pyrobust.attacks.inner_attack import TradesAttackSettings
from pyrobust.attacks.pgd import pgd40
from pyrobust.attacks.threat_model import ThreatModel
from pyrobust.config.fields import parse_epsilon
from pyrobust.config.training import TrainSettings
from pyrobust.cost import write_cost
from pyrobust.data.store import SampleStore
from pyrobust.errors import UserError
from pyrobust.files import write_json
from pyrobust.models import ImageClassifier, ModelSpec, save_model
from pyrobust.models.batch_norm import set_virtual_batch
from pyrobust.training.batches import BatchPlan
from pyrobust.training.classifier import ClassifierTask, TrainingInputs, Validation, new_model
from pyrobust.training.data_parallel import Processes, joined_processes
from pyrobust.training.early_stopping import RobustValidation
from pyrobust.training.loader import Loader
from pyrobust.training.loop import Run, remove_state, run_loop
from pyrobust.training.overfitting import GapValidation
from pyrobust.training.runtime import Runtime
from pyrobust.training.schedules import Schedule, count_steps, scaled_rate
from pyrobust.training.trades_step import METRICS, TradesSettings, TradesStep
from pyrobust.training.weight_averaging import AveragedSgd

VALIDATION_ATTACK = "pgd40"


def train_robust(
    dataset: Path, samples: Path | None, output: Path, settings: TrainSettings, runtime: Runtime
) -> None:
    """Train a robust classifier and write it with its record to `output`.

    Writes `model.safetensors` (the averaged weights that were best on the validation split, later
    ones among equals), `log.jsonl`, `cost.json` and, last, `training.json`. The test split is not
    looked at.

    Raises:
        UserError: inputs that are missing or do not fit, or a loss that diverges.
        Interrupted: a scheduler asked for it; the same call resumes.
    """
    uses_generated = round(settings.mixing_factor * settings.batch_size) < settings.batch_size
    inputs = TrainingInputs.open(dataset, samples if uses_generated else None)
    plan = plan_batches(inputs, settings)
    spec = inputs.spec(settings.architecture, settings.activation)
    runtime.prepare()
    steps = count_steps(settings.epochs, settings.epoch_size, settings.batch_size)
    with joined_processes(runtime.device) as processes:
        together = processes.normalized_together(settings.batch_size, settings.virtual_batch)
        facts = {"settings": settings.model_dump(mode="json"), "batch_norm_images": together}
        _check_graph(runtime, processes)
        with processes.writing(output, result="training.json"):
            task = robust_task(inputs, plan, spec, settings, steps, runtime, processes)
            run = run_loop(
                task,
                runtime.loop_settings(steps, settings.batch_size, settings.validations),
                output,
                {**facts, **inputs.identity()},
                f"train seed {settings.seed}",
                processes,
            )
            if processes.is_main:
                save_model(output / "model.safetensors", task.kept(), spec)
                rate = settings.batch_size * run.step / run.training_seconds
                write_cost(output / "cost.json", run.seconds, str(processes.device), rate)
                write_json(output / "training.json", {**facts, **_record(run, inputs, spec)})
                remove_state(output)


def plan_batches(inputs: TrainingInputs, settings: TrainSettings) -> BatchPlan:
    """Return the composition of every batch.

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
    spec: ModelSpec,
    settings: TrainSettings,
    steps: int,
    runtime: Runtime,
    processes: Processes,
) -> ClassifierTask:
    """Return TRADES on mixed batches as a task of the training loop."""
    device = processes.device
    model = new_model(spec, settings.seed, settings.zero_logits, settings.channels_last, device)
    set_virtual_batch(model, settings.virtual_batch)
    optimizer = AveragedSgd(model, settings.weight_decay)
    of_originals = settings.label_smoothing if settings.label_smoothing_on == "all" else 0.0
    loader = Loader(
        plan,
        inputs.dataset.train,
        inputs.generated,
        inputs.augmentation,
        smoothing=(of_originals, settings.label_smoothing),
        processes=processes,
        resident_bytes=runtime.resident_mb << 20,
        channels_last=settings.channels_last,
    )
    schedule = Schedule(
        settings.schedule,
        scaled_rate(settings.learning_rate, settings.batch_size),
        settings.momentum,
        settings.warmup,
        steps,
        settings.epoch_size / settings.batch_size,
    )
    threat = ThreatModel(settings.norm, parse_epsilon(settings.epsilon))
    step = TradesStep(
        model,
        optimizer,
        loader,
        schedule,
        TradesSettings(
            attack=TradesAttackSettings(
                threat=threat,
                num_steps=settings.attack_steps,
                optimizer=settings.attack_optimizer,
                step_size=parse_epsilon(settings.attack_step_size),
            ),
            beta=settings.trades_beta,
            batch_norm_updates=settings.batch_norm_updates,
            averaging_decay=settings.averaging_decay,
            averaging_start=int(settings.averaging_start * steps),
            precision=settings.precision,
            seed=settings.seed,
            compiled_attack=settings.compiled_attack,
            cuda_graph=runtime.cuda_graph,
        ),
        processes,
    )
    validation = _validation(inputs, settings, threat, model, processes)
    return ClassifierTask(step, METRICS, schedule.log_facts, optimizer, validation)


def _validation(
    inputs: TrainingInputs,
    settings: TrainSettings,
    threat: ThreatModel,
    live: ImageClassifier,
    processes: Processes,
) -> Validation:
    """Return the validation of a run, with the generalisation gap unless `gap_images` is 0."""
    dataset, count = inputs.dataset, settings.gap_images

    def measure(store: SampleStore, num_images: int | None = None) -> RobustValidation:
        attack, batch_size = pgd40(threat), settings.batch_size
        return RobustValidation(store, attack, batch_size, settings.seed, processes, num_images)

    validation = measure(dataset.validation)
    if count == 0:
        return validation
    parts = (measure(dataset.train, count), measure(dataset.validation, count))
    return GapValidation(validation, *parts, live)


def _check_graph(runtime: Runtime, processes: Processes) -> None:
    """Refuse a CUDA graph where there is no GPU."""
    if runtime.cuda_graph and processes.device.type != "cuda":
        raise UserError(
            f"cuda_graph is on and the device is {processes.device}, expected a GPU: leave it off"
        )


def _record(run: Run, inputs: TrainingInputs, spec: ModelSpec) -> dict[str, Any]:
    best = run.best("robust_accuracy")
    return {
        "spec": spec.to_json(),
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

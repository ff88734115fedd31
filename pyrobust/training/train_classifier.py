"""Training of classifiers, robust or not: from settings to the files of a run."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pyrobust import ops
from pyrobust.attacks.inner_attack import InnerAttack
from pyrobust.config import parse_settings
from pyrobust.config.training import LabellerSettings, TrainSettings
from pyrobust.cost import write_cost
from pyrobust.errors import UserError
from pyrobust.files import read_json, write_json
from pyrobust.imports import import_object, source_sha256
from pyrobust.models import ImageClassifier, ModelSpec, logits_in, save_model
from pyrobust.models.batch_norm import set_virtual_batch
from pyrobust.models.files import WEIGHTS, sha256_of_state
from pyrobust.models.imported import constructor_path
from pyrobust.models.spec import GIVEN
from pyrobust.ops.precision import exact_kernels
from pyrobust.own_code import own_code
from pyrobust.training.batches import BatchPlan
from pyrobust.training.classifier import ClassifierTask, TrainingInputs, Validation, new_model
from pyrobust.training.data_parallel import Processes, joined_processes
from pyrobust.training.loader import Loader
from pyrobust.training.loop import Run, remove_state, run_loop
from pyrobust.training.objectives import Objective, Passes
from pyrobust.training.resuming import differences
from pyrobust.training.runtime import Runtime
from pyrobust.training.schedules import Schedule, count_steps
from pyrobust.training.step import TrainingStep
from pyrobust.training.weight_averaging import AveragedSgd

logger = logging.getLogger(__name__)

# Images whose logits show whether a given network still computes the same.
_PROBES = 16

ClassifierSettings = TrainSettings | LabellerSettings


def train_classifier(
    inputs: TrainingInputs,
    output: Path,
    settings: ClassifierSettings,
    runtime: Runtime,
    *,
    description: str,
    result: str,
    make_task: Callable[[int, Processes], ClassifierTask],
    record: Callable[[ClassifierTask, Run, Processes], dict[str, Any]],
    network: nn.Module | None = None,
) -> None:
    """Train a classifier and write its weights, its cost and, last, its record to `output`.

    If `output` holds the finished run of the same settings and inputs, nothing is done.

    Args:
        description: of the training, for the progress line.
        result: name of the record, which exists only for a finished run.
        make_task: returns the task, given the total number of steps and the processes.
        record: returns the contents of the record for a finished run, besides the settings.
        network: the caller's network that `make_task` trains, if any.

    Raises:
        UserError: inputs that are missing or do not fit, a loss that diverges, or `output` holds
            the finished run of other settings or inputs.
        Interrupted: a scheduler asked the run to stop; the same call resumes.
    """
    spec = inputs.spec(settings.architecture, settings.activation)
    runtime.prepare()
    steps = count_steps(settings)
    validations, virtual_batch = 0, 0
    if isinstance(settings, TrainSettings):
        validations, virtual_batch = settings.validations, settings.virtual_batch
    facts = {"settings": settings.model_dump(mode="json"), **_own_code(settings)}
    with joined_processes(runtime.device, output) as processes:
        if network is not None:
            facts |= _identity_of(network, spec, processes.device)
        facts["batch_norm_images"] = processes.normalized_together(
            settings.batch_size, virtual_batch
        )
        if runtime.cuda_graph and processes.device.type != "cuda":
            raise UserError(f"--cuda-graph needs a GPU, but the device is {processes.device}")
        if _is_finished(output / result, settings, {**facts, "inputs": inputs.identity()}):
            if processes.is_main:
                logger.info("%s holds the finished training", output)
            return
        task = make_task(steps, processes)
        with own_code(_own_names(settings), certain=False):
            run = run_loop(
                task,
                runtime.loop_settings(steps, settings.batch_size, validations),
                output,
                {**facts, **inputs.identity()},
                description,
                processes,
            )
        if processes.is_main:
            save_model(output / WEIGHTS, task.result(), spec)
            rate = settings.batch_size * run.step / run.training_seconds
            write_cost(output / "cost.json", run.seconds, str(processes.device), rate)
            whole = {
                **facts,
                "inputs": inputs.identity(),
                "spec": spec.to_json(),
                **record(task, run, processes),
            }
            write_json(output / result, whole)
            remove_state(output)


def _is_finished(path: Path, settings: ClassifierSettings, identity: Mapping[str, Any]) -> bool:
    """Return whether `path` is the record of a finished run with this identity.

    Raises:
        UserError: it is that of another run, or the weights of this one are missing.
    """
    if not path.is_file():
        return False
    found = read_json(path, "pyrobust train")
    advice = f"use another folder for the output, or delete {path} to train again"
    if "settings" not in found:
        raise UserError(f"{path} is not the record of a training: {advice}")
    # Settings that an earlier version did not have had what is their default now.
    before = parse_settings(type(settings), found["settings"], path).model_dump(mode="json")
    theirs = {key: found.get(key) for key in _IDENTITY} | {"settings": before}
    ours = {key: identity.get(key) for key in _IDENTITY}
    for key in ("inputs", "network_logits"):
        if theirs[key] is None:  # of an earlier version
            ours[key] = None
    different = ", ".join(differences(theirs, json.loads(json.dumps(ours))))
    if different:
        raise UserError(f"{path.parent} holds another finished training ({different}): {advice}")
    if not (path.parent / WEIGHTS).is_file():
        raise UserError(f"{path.parent} holds a finished training, but no {WEIGHTS}: {advice}")
    return True


# Keys of a record that decide its result.
_OF_NETWORK = ("network_sha256", "network_logits")
_IDENTITY = ("settings", "own_code", *_OF_NETWORK, "batch_norm_images", "inputs")


def _identity_of(network: nn.Module, spec: ModelSpec, device: torch.device) -> dict[str, str]:
    """Return digests of a given network's weights, and of what its code computes from them.

    The latter is one sum of logits for each of a few images of noise, to a hundredth of the
    largest, which itself has two digits. Devices round much less, and few numbers rarely lie where
    that decides a digit.

    Args:
        device: of the training, used if the network fails on the CPU.
    """
    try:
        logits = _logits_of_noise(network, spec, torch.device("cpu"))
    except UserError:
        if device.type == "cpu":
            raise
        logits = _logits_of_noise(network, spec, device)
    weights = ops.uniform(torch.arange(1), (logits.shape[1],), 1)[0] - 0.5
    sums = (logits.double() * weights).sum(1)
    largest = sums.abs().max().item()
    hundredths = torch.nan_to_num(100 * sums / largest).round().to(torch.int64).tolist()
    digest = hashlib.sha256(f"{largest:.1e} {hundredths}".encode()).hexdigest()
    return dict(zip(_OF_NETWORK, (sha256_of_state(network), digest), strict=True))


def _logits_of_noise(network: nn.Module, spec: ModelSpec, device: torch.device) -> Tensor:
    """Return the logits of a given network for a few images of noise, on the CPU."""
    height, width, channels = spec.image_shape
    images = ops.uniform(torch.arange(_PROBES), (channels, height, width), 0)
    model = new_model(spec, 0, False, False, device, network)
    with torch.random.fork_rng(devices=[]), torch.no_grad(), exact_kernels():
        torch.manual_seed(0)
        logits: Tensor = model(images.to(device))
    return logits.cpu()


def _own_names(settings: ClassifierSettings) -> str:
    """Return the names of the code that may be the user's: the network and the objective."""
    objective = settings.objective if isinstance(settings, TrainSettings) else ""
    stated = (settings.architecture, objective)
    names = [name.removeprefix(GIVEN) for name in stated if ":" in name]
    return " or ".join(names) or "your code"


def _own_code(settings: ClassifierSettings) -> dict[str, Any]:
    """Return the hashes of the source files that settings name as MODULE:NAME."""
    objective = settings.objective if isinstance(settings, TrainSettings) else ""
    named = {"architecture": settings.architecture, "objective": objective}
    own = {
        key: source_sha256(import_object(constructor_path(path), key, "my_module:Name"))
        for key, path in named.items()
        if ":" in path and not path.startswith(GIVEN)
    }
    return {"own_code": own} if own else {}


def classifier_task(
    inputs: TrainingInputs,
    plan: BatchPlan,
    settings: ClassifierSettings,
    objective: Objective,
    smoothing: tuple[float, float],
    total_steps: int,
    runtime: Runtime,
    processes: Processes,
    make_validation: Callable[[ImageClassifier], Validation] | None = None,
    network: nn.Module | None = None,
) -> ClassifierTask:
    """Return a network, its data and its objective as a task of the training loop.

    Args:
        smoothing: label smoothing of original and of generated images.
        make_validation: returns the validation of the averaged network, given the live one.
        network: trained instead of a new network of the settings' architecture.
    """
    spec, device = inputs.spec(settings.architecture, settings.activation), processes.device
    robust = settings if isinstance(settings, TrainSettings) else None
    zero_logits = robust is None or robust.zero_logits
    model = new_model(spec, settings.seed, zero_logits, settings.channels_last, device, network)
    logits_fn, attack = logits_in(settings.precision, model), None
    if robust is not None:
        set_virtual_batch(model, robust.virtual_batch)
        attack = InnerAttack(model, logits_fn, robust, runtime.cuda_graph)
    loader = Loader(
        plan,
        inputs.dataset.train,
        inputs.generated,
        inputs.augmentation,
        smoothing=smoothing,
        processes=processes,
        resident_bytes=runtime.resident_mb << 20,
        channels_last=settings.channels_last,
    )
    passes = Passes(model, logits_fn, attack, objective.tracked_passes, processes)
    optimizer = AveragedSgd(model, settings.weight_decay)
    schedule = Schedule.of(settings, total_steps)
    step = TrainingStep(model, objective, passes, loader, optimizer, schedule, processes)
    names = objective.metric_names
    validation = None if make_validation is None else make_validation(model)
    return ClassifierTask(step, names, schedule.log_facts, optimizer, validation)

"""The training loop of every network: steps, log, validation, state, progress.

It does not depend on what is trained. A run that is killed and restarted with the same identity
resumes from its last saved state, and ends with the same weights, log and history as an
uninterrupted run, because a step depends only on its number and on the state.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from pyrobust.errors import UserError
from pyrobust.progress import Advance, counting
from pyrobust.trackers import TrackerName
from pyrobust.training.data_parallel import Processes
from pyrobust.training.log import JsonLog, open_log
from pyrobust.training.resuming import Interrupted, Interruption, StateFolder, noting_signals

logger = logging.getLogger(__name__)

# Steps after which several processes check whether one of them was asked to stop.
_AGREE_STEPS = 10

# Consecutive skipped updates after which a run fails: a single bad batch is not the cause.
_MAX_SKIPS = 100

_PENDING = "loop.pending"

SKIPPED = "skipped"
"""Name of the metric that is 1 for a step whose update was skipped, else 0."""

Metrics = dict[str, float]


class Task(Protocol):
    """What the loop trains."""

    @property
    def metric_names(self) -> Sequence[str]:
        """Names of the numbers that `step` returns; the first is the loss.

        A task that skips updates, such as those of a batch with a non-finite loss, has `SKIPPED` as
        the last one. The log counts skipped steps and averages the others.
        """

    def step(self, step: int) -> Tensor:
        """Make update `step` (from 0) and return its metrics, (len(metric_names),) float32."""

    def log_facts(self, step: int) -> Metrics:
        """Return further values of a log line after `step` updates, such as the learning rate."""

    def validate(self, stopping: Callable[[], bool]) -> Metrics | None:
        """Return the metrics of the network; None if `stopping` returned True meanwhile."""

    def keep(self) -> None:
        """Keep the current weights as the best so far."""

    def state(self) -> dict[str, Tensor]:
        """Return all tensors that the next step depends on, and the best weights."""

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what `state` returned."""


@dataclass(frozen=True)
class LoopSettings:
    """Lengths and intervals of a run; only `total_steps` and `validations` affect its result.

    Args:
        validations: number of validations, evenly spread, including one at the end.
        best_by: metric of `validate` that decides which weights are kept; the later of equals.
        best_is: whether higher or lower values of that metric are better.
        log_steps: steps that one line of the log averages over.
        max_loss: a loss above it means that training diverged; cross-entropy at chance level is the
            logarithm of the number of classes.
        save_steps, save_seconds: the state is saved after the first of the two.
        trackers: experiment trackers that also receive the log.
    """

    total_steps: int
    batch_size: int
    validations: int = 0
    best_by: str = "robust_accuracy"
    best_is: Literal["highest", "lowest"] = "highest"
    log_steps: int = 10
    max_loss: float = 1e4
    save_steps: int = 1000
    save_seconds: float = 120.0
    trackers: tuple[TrackerName, ...] = ("tensorboard",)

    @property
    def validation_steps(self) -> frozenset[int]:
        """Steps after which the network is validated."""
        count = min(self.validations, self.total_steps)
        return frozenset(round(self.total_steps * (k + 1) / count) for k in range(count))


@dataclass
class Run:
    """Progress of a run, which is saved with its state.

    Attributes:
        step: number of steps so far.
        history: step and metrics of each validation.
        seconds, training_seconds: working time so far, with and without validation.
        log_position: length of the log in bytes.
        skipped_in_row: consecutive skipped updates up to now.
    """

    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    training_seconds: float = 0.0
    log_position: int = 0
    skipped_in_row: int = 0

    def best(
        self, metric: str, best_is: Literal["highest", "lowest"] = "highest"
    ) -> dict[str, Any]:
        """Return the best entry of the history; the later of equals."""
        sign = 1 if best_is == "highest" else -1
        return max(self.history, key=lambda entry: (sign * entry[metric], entry["step"]))


def run_loop(
    task: Task,
    settings: LoopSettings,
    folder: Path,
    identity: Mapping[str, Any],
    description: str,
    processes: Processes,
) -> Run:
    """Train `task` to the end.

    Args:
        folder: for `log.jsonl`, `tensorboard/` and, until `remove_state`, `state/`.
        identity: JSON values of everything that the result depends on.
        description: of the training, for the progress line.

    Raises:
        UserError: the loss or the weights are not finite, or the loss diverges; the last good
            state is kept.
        Interrupted: a scheduler asked the run to stop; the state is saved.
    """
    loop = _Loop(task, settings, folder, identity, processes)
    with ExitStack() as stack:
        loop.interruption = stack.enter_context(noting_signals())
        if processes.is_main:
            resumed = loop.run
            log = open_log(folder, resumed.log_position, resumed.step, settings.trackers, identity)
            loop.log = stack.enter_context(log)
            loop.advance = stack.enter_context(
                counting(
                    settings.total_steps * settings.batch_size,
                    f"{description} on {processes.device.type}",
                    "images",
                    done=loop.logged_steps * settings.batch_size,
                )
            )
        loop.go()
    return loop.run


def remove_state(folder: Path) -> None:
    """Remove the saved state of a finished run."""
    StateFolder(folder, {}).remove()


class _Loop:
    log: JsonLog | None = None
    advance: Advance | None = None
    interruption: Interruption

    def __init__(
        self,
        task: Task,
        settings: LoopSettings,
        folder: Path,
        identity: Mapping[str, Any],
        processes: Processes,
    ) -> None:
        self._task, self._settings, self._processes = task, settings, processes
        self._state = StateFolder(folder, identity)
        self._pending: list[Tensor] = []  # metrics of the steps since the last line of the log
        self.run = Run()
        self._clock = time.monotonic()
        self._resume()
        self._saved_step, self._saved_at = self.run.step, self._clock

    @property
    def logged_steps(self) -> int:
        """Steps that the log and the progress line include."""
        return self.run.step - len(self._pending)

    def go(self) -> None:
        while True:
            self._validate_where_due()
            if self.run.step == self._settings.total_steps:
                break
            self._step()
        self._save()

    def _step(self) -> None:
        run, settings = self.run, self._settings
        self._pending.append(self._task.step(run.step))
        run.step += 1
        if run.step % settings.log_steps == 0 or run.step == settings.total_steps:
            self._write_log()
        if self._asked_to_stop():
            self._save()
            raise Interrupted
        steps_since, seconds_since = run.step - self._saved_step, time.monotonic() - self._saved_at
        if steps_since >= settings.save_steps or seconds_since >= settings.save_seconds:
            self._save()

    def _asked_to_stop(self) -> bool:
        if self._processes.world_size > 1 and self.run.step % _AGREE_STEPS:
            return False
        return self._processes.any(self.interruption.requested)

    def _validate_where_due(self) -> None:
        run = self.run
        if run.step not in self._settings.validation_steps:
            return
        if run.history and run.history[-1]["step"] == run.step:
            return
        self._account(training=True)
        metrics = self._task.validate(lambda: self.interruption.requested)
        self._account(training=False)
        if metrics is None:
            self._save()
            raise Interrupted
        run.history.append({"step": run.step, **metrics})
        best = run.best(self._settings.best_by, self._settings.best_is)
        if best is run.history[-1]:
            self._task.keep()
        if self.log is not None:
            epoch = self._task.log_facts(run.step)["epoch"]
            self.log.write({"step": run.step, "epoch": epoch, "split": "validation", **metrics})
            logger.info("step %d, validation: %s", run.step, _line(metrics))

    def _write_log(self) -> None:
        values, self.run.skipped_in_row = self._checked_pending()
        self._pending.clear()
        metrics = self._averages(values)
        if self.log is None or self.advance is None:
            return
        step = self.run.step
        self.log.write({"step": step, **self._task.log_facts(step), **metrics})
        self.advance(len(values) * self._settings.batch_size, _line(metrics))

    def _averages(self, values: Tensor) -> Metrics:
        """Return means over the steps with an update, and the number of skipped steps."""
        names = self._task.metric_names
        if names[-1] != SKIPPED:
            return dict(zip(names, values.mean(0).tolist(), strict=True))
        made = values[values[:, -1] == 0, :-1]
        means = dict(zip(names, made.mean(0).tolist(), strict=False)) if len(made) else {}
        return {**means, SKIPPED: len(values) - len(made)}

    def _checked_pending(self) -> tuple[Tensor, int]:
        """Return the pending metrics, (steps, metrics), and the consecutive skips at their end.

        Raises:
            UserError: a loss is not finite or above the limit although its update was made, or
                too many consecutive updates were skipped.
        """
        values = torch.stack(self._pending).double().cpu()
        may_skip, in_row = self._task.metric_names[-1] == SKIPPED, self.run.skipped_in_row
        for step, (loss, last) in enumerate(values[:, [0, -1]].tolist(), self.logged_steps):
            in_row = in_row + 1 if may_skip and last else 0
            if in_row == _MAX_SKIPS:
                problem = f"{in_row} consecutive updates were skipped, up to step {step}"
            elif not in_row and not (math.isfinite(loss) and loss <= self._settings.max_loss):
                problem = f"the loss of step {step} is {loss:.4g}"
            else:
                continue
            raise UserError(
                f"training diverged: {problem}; try a lower --learning-rate (the state before it "
                f"is kept in {self._state.path})"
            )
        return values, in_row

    def _check_weights(self, tensors: Mapping[str, Tensor]) -> None:
        """Require finite weights before they are saved; the loss may not show the problem yet."""
        for name, value in tensors.items():
            if value.is_floating_point() and not value.isfinite().all():
                raise UserError(
                    f"training diverged: {name} is not finite after step {self.run.step - 1}; try "
                    f"a lower --learning-rate (an earlier state is kept in {self._state.path})"
                )

    def _resume(self) -> None:
        saved = self._state.load()
        if saved is None:
            return
        with self._state.fitting():
            self.run = Run(**saved.facts)
            # The next steps append metrics on the device.
            pending = saved.tensors.pop(_PENDING, torch.empty(0))
            self._pending = list(pending.to(self._processes.device))
            self._task.load_state(saved.tensors)
        logger.info("resuming from step %d", self.run.step)

    def _save(self) -> None:
        if self._pending:
            self._checked_pending()
        self._account(training=True)
        self._saved_step, self._saved_at = self.run.step, time.monotonic()
        if self.log is None:
            return
        self.run.log_position = self.log.position()
        tensors = self._task.state()
        self._check_weights(tensors)
        if self._pending:
            tensors[_PENDING] = torch.stack(self._pending)
        self._state.save(tensors, asdict(self.run))

    def _account(self, training: bool) -> None:
        now = time.monotonic()
        self.run.seconds += now - self._clock
        self.run.training_seconds += (now - self._clock) if training else 0.0
        self._clock = now


def _line(metrics: Metrics) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in metrics.items())

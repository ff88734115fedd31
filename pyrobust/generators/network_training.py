"""Training of a generator's networks by the project's training loop.

`NetworkTraining` is the task of the loop. A type implements `update`. The class provides batches
and noise that do not depend on the number of processes, the weight average, the state for
resuming, and, with `keep_best`, the weights of the best FID.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from pyrobust import ops
from pyrobust.generators.base import Fit
from pyrobust.ops.precision import full_float32, passes_in
from pyrobust.training.adam import AdamUpdate
from pyrobust.training.batches import BatchPlan
from pyrobust.training.early_stopping import BestWeights, copy_to_host
from pyrobust.training.loader import Augmentation, Loader
from pyrobust.training.loop import SKIPPED, Metrics, Run, run_loop
from pyrobust.training.weight_averaging import WeightAverage

# The maximum number of lines in a log, and the minimum number of steps that a line averages.
_LOG_LINES, _LOG_STEPS = 2000, 10

# First stream of the noise of training; samples use the lower streams of the same seed.
_TRAINING_STREAM = 1 << 31

AVERAGE, LIVE = "average.", "live."

# Returns the metrics of the averaged network; None if it was stopped meanwhile.
Measure = Callable[[nn.Module, Callable[[], bool]], Metrics | None]


class HasState(Protocol):
    """A part of a training with a state, such as `AdamUpdate`."""

    def state(self) -> dict[str, Tensor]:
        """Return all tensors that the next step depends on."""

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what `state` returned."""


class NetworkTraining(ABC):
    """The training of one type as a task of the loop; a type implements `update`.

    A step depends only on its number and the state: batches come from `loader` by number, noise
    from `normal` and `uniform`, and torch's generator (dropout) is seeded before each step.

    Args:
        network: the sampling network on the device; its weights are averaged.

    Attributes:
        parts: everything with a state, by name; a type adds its optimisers.
        average: the averaged weights of the sampling network.
        loader: the batches by number; `batch_numbers` returns those of an update.
        best: the averaged weights of the best measurement so far, with `keep_best`.
    """

    update_metrics: Sequence[str] = ("loss",)
    """Names of the metrics that `update` returns."""

    max_loss: float = 1e4
    """A loss above it means that training diverged."""

    mirrors: bool = True
    """Whether to mirror images at random if the data set allows it."""

    measure: Measure | None = None
    """Validation of the averaged network during training, if any."""

    def __init__(self, fit: Fit, network: nn.Module) -> None:
        self.fit, self.settings = fit, fit.settings
        self.processes = fit.processes
        self.average = WeightAverage(network)
        self.parts: dict[str, HasState] = {"average": self.average}
        self.best = BestWeights()
        self.processes.check_share(self.settings.batch_size)
        train = fit.dataset.train
        self.loader = Loader(
            BatchPlan(self.settings.batch_size, 1.0, train.count, 0, self.settings.seed),
            train,
            None,
            Augmentation(padding=0, flip=self.mirrors and fit.dataset.flip),
            smoothing=(0.0, 0.0),
            processes=self.processes,
            resident_bytes=fit.runtime.resident_mb << 20,
            channels_last=False,
        )

    @property
    def metric_names(self) -> Sequence[str]:
        """Names of the metrics that `step` returns."""
        return (*self.update_metrics, SKIPPED)

    @abstractmethod
    def update(self, step: int) -> Tensor:
        """Update all networks by the batches of step `step`, and return the metrics.

        The metrics are means over all processes, (len(update_metrics),) float32, the loss first.
        """

    def batch_numbers(self, step: int) -> range:
        """Return the numbers of the batches of update `step`."""
        count = self.settings.images_per_step // self.settings.batch_size
        return range(step * count, (step + 1) * count)

    def normal(
        self, positions: Tensor, number: int, shape: Sequence[int], stream: int = 0
    ) -> Tensor:
        """Return standard normal noise (B, *shape), different for every image of the training.

        Args:
            positions: of the images in the whole batch (`TrainingBatch.positions`).
            number: of the batch.
            stream: distinguishes several noises of one image.
        """
        ids = self._noise_ids(positions, number)
        return ops.normal(ids, shape, self.settings.seed, _TRAINING_STREAM + stream)

    def uniform(
        self, positions: Tensor, number: int, shape: Sequence[int], stream: int = 0
    ) -> Tensor:
        """Return uniform noise in [0, 1), with the arguments of `normal`."""
        ids = self._noise_ids(positions, number)
        return ops.uniform(ids, shape, self.settings.seed, _TRAINING_STREAM + stream)

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of update `step`."""
        return self.settings.learning_rate

    def averaging_decay(self, step: int) -> float:
        """Return the decay of the weight average after update `step`."""
        return ops.averaging_ramp(step, self.settings.averaging_decay)

    def passes(self) -> AbstractContextManager[object]:
        """Return a context that computes in the precision of the settings."""
        return passes_in(self.settings.precision, self.processes.device)

    def finished(self, network: nn.Module) -> dict[str, Tensor]:
        """Return the weights for sampling, from the averaged or the live network."""
        return dict(network.state_dict())

    def averaged_weights(self) -> dict[str, Tensor]:
        """Return a copy of the averaged weights of the network that samples, on the CPU."""
        return copy_to_host(self.finished(self.average.network))

    def weights(self) -> dict[str, Tensor]:
        """Return the live weights and the averaged ones, the best of these with `keep_best`."""
        networks = {
            AVERAGE: self.best.weights or self.averaged_weights(),
            LIVE: copy_to_host(self.finished(self.average.live)),
        }
        return {
            f"{prefix}{name}": value
            for prefix, state in networks.items()
            for name, value in state.items()
        }

    def step(self, step: int) -> Tensor:
        """Make update `step` (from 0); update the weight average unless the step is skipped."""
        # Dropout uses torch's random generator; a resumed run must draw the same numbers.
        torch.manual_seed(seed_of(self.settings.seed, step, self.processes.rank))
        before = self._num_skips()
        with full_float32():
            metrics = self.update(step)
        skipped = self._num_skips() > before
        if not skipped:
            self.average.update(self.averaging_decay(step))
        return torch.cat([metrics, metrics.new_full((1,), float(skipped))])

    def _num_skips(self) -> int:
        return sum(part.skips for part in self.parts.values() if isinstance(part, AdamUpdate))

    def log_facts(self, step: int) -> Metrics:
        """Return further values of a log line after `step` updates."""
        images = step * self.settings.images_per_step
        return {
            "epoch": images / self.fit.dataset.train.count,
            "learning_rate": self.learning_rate(step),
        }

    def _noise_ids(self, positions: Tensor, number: int) -> Tensor:
        return positions + number * self.settings.batch_size

    def validate(self, stopping: Callable[[], bool]) -> Metrics | None:
        """Return the metrics of the averaged network; None if `stopping` returned True."""
        assert self.measure is not None
        return self.measure(self.average.network, stopping)

    def keep(self) -> None:
        """Keep the averaged weights as the best so far, with `keep_best`."""
        if self.settings.keep_best is not None:
            self.best.keep(self.finished(self.average.network))

    def state(self) -> dict[str, Tensor]:
        """Return the tensors of all parts, and the best weights."""
        of_parts = {
            f"{part}.{name}": value
            for part, owner in self.parts.items()
            for name, value in owner.state().items()
        }
        return {**of_parts, **self.best.state()}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what `state` returned."""
        self.best.load_state(tensors)
        for part, owner in self.parts.items():
            mine = {
                name.removeprefix(f"{part}."): value
                for name, value in tensors.items()
                if name.startswith(f"{part}.")
            }
            owner.load_state(mine)


def run_training(training: NetworkTraining, validations: int = 0) -> Run:
    """Train to the end; an interrupted run resumes.

    Args:
        validations: number of calls of `training.measure`, evenly spread; with `keep_best`, that of
            the settings.

    Raises:
        UserError: the loss is not finite or diverges; the last good state is kept.
        Interrupted: a scheduler asked the run to stop; the state is saved.
    """
    fit, settings = training.fit, training.settings
    total = settings.training_steps
    validations = settings.fid_measures or validations
    loop_settings = replace(
        fit.runtime.loop_settings(total, settings.images_per_step, validations),
        best_by="step" if settings.keep_best is None else settings.keep_best,
        best_is="highest" if settings.keep_best is None else "lowest",
        log_steps=max(_LOG_STEPS, total // _LOG_LINES),
        max_loss=training.max_loss,
    )
    identity: dict[str, Any] = {
        "settings": settings.fitting(),
        "dataset": fit.dataset.sha256,
        **fit.own_code,
    }
    if fit.fid is not None:
        identity["fid_features"] = fit.fid.description
    description = f"fit {settings.type}"
    return run_loop(training, loop_settings, fit.folder, identity, description, fit.processes)


def seed_of(*numbers: int) -> int:
    """Return a seed for torch's generator from non-negative integers of any size."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])

"""One update of a classifier, whatever its objective: batch, gradients, all-reduce, weights."""

import torch
from torch import Tensor

from pyrobust.models import ImageClassifier
from pyrobust.models.batch_norm import running_statistics
from pyrobust.training.data_parallel import Processes
from pyrobust.training.loader import Loader
from pyrobust.training.objectives import Objective, Passes
from pyrobust.training.schedules import Schedule
from pyrobust.training.weight_averaging import AveragedSgd


class TrainingStep:
    """Makes the update of step t from batch t.

    Returns means over the batch, (len(metric_names),) float32, in the order of the objective's
    `metric_names`, for the network that is trained, with batch statistics.
    """

    def __init__(
        self,
        model: ImageClassifier,
        objective: Objective,
        passes: Passes,
        loader: Loader,
        optimizer: AveragedSgd,
        schedule: Schedule,
        processes: Processes,
    ) -> None:
        self._objective, self._passes, self._loader = objective, passes, loader
        self._optimizer, self._schedule, self._processes = optimizer, schedule, processes
        self._statistics = running_statistics(model)

    def __call__(self, step: int) -> Tensor:
        """Make update `step`, counted from 0."""
        batch = self._loader.batch(step)
        self._passes.begin(step)
        measured = self._objective.backward(batch, self._passes)
        metrics = torch.stack([measured[name] for name in self._objective.metric_names])
        self._processes.average_([*self._optimizer.gradients(), *self._statistics, metrics])
        self._optimizer.step(
            self._schedule.learning_rate(step),
            self._schedule.momentum_at(step),
            self._schedule.averaging_decay(step),
        )
        return metrics

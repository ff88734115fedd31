"""What an objective is: a loss of batches, its gradients, and the numbers that the log shows."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from pyrobust.attacks.threat_model import is_broken
from pyrobust.training.loader import TrainingBatch
from pyrobust.training.objectives.passes import Passes


@dataclass(frozen=True)
class Loss:
    """The mean loss over a batch, by its gradients.

    Args:
        outputs: logits with their graph, or the loss itself.
        gradients: of the mean loss with respect to each output.
        metrics: scalars for the log, without graph.
    """

    outputs: tuple[Tensor, ...]
    gradients: tuple[Tensor, ...]
    metrics: Mapping[str, Tensor]

    @classmethod
    def of(cls, loss: Tensor, **metrics: Tensor) -> Self:
        """Return the loss that autograd differentiates, logged as `loss` before `metrics`."""
        values = {name: value.detach() for name, value in {"loss": loss, **metrics}.items()}
        return cls((loss,), (torch.ones_like(loss),), values)

    def backward(self) -> None:
        """Add the gradients to those of the parameters."""
        torch.autograd.backward(list(self.outputs), list(self.gradients))

    def gradients_of(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """Return the gradients with respect to `weights`, zero where the loss ignores one."""
        grads = torch.autograd.grad(
            self.outputs, weights, self.gradients, allow_unused=True, materialize_grads=True
        )
        return list(grads)


class Objective(ABC):
    """A training objective. A subclass is constructed from the settings of the training.

    Attributes:
        metric_names: names of the metrics of `loss`; the first is "loss".
        tracked_passes: passes of a step that move the running statistics of batch norm.
    """

    metric_names: ClassVar[Sequence[str]] = ("loss",)
    tracked_passes: int = 1

    @abstractmethod
    def attack(self, batch: TrainingBatch, passes: Passes) -> Tensor:
        """Return the images x_adv on which the loss is computed; clean training returns batch.x."""

    @abstractmethod
    def loss(self, batch: TrainingBatch, x_adv: Tensor, passes: Passes) -> Loss:
        """Return the loss at the present weights, by passes that keep their graph."""

    def backward(self, batch: TrainingBatch, passes: Passes) -> Mapping[str, Tensor]:
        """Add the gradients of the loss to those of the parameters, and return the metrics."""
        loss = self.loss(batch, self.attack(batch, passes), passes)
        loss.backward()
        return loss.metrics


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the fraction of correct predictions, a scalar without graph."""
    return (~is_broken(logits.detach(), labels)).float().mean()

"""Nesterov SGD and the exponential moving average of the weights (section 4, tau)."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase  # of batch norm and instance norm

from pyrobust import ops
from pyrobust.errors import UserError
from pyrobust.models import ImageClassifier

_NORMALIZATION = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


class WeightAverage:
    """A copy of a network with averaged weights and the buffers of the live network.

    Attributes:
        network: the copy, in evaluation mode.
    """

    def __init__(self, live: nn.Module) -> None:
        self.live = live
        self.network = copy.deepcopy(live).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """Move the averages towards the live weights: decay × average + (1 - decay) × weight."""
        ops.ema_update_(list(self.network.parameters()), list(self.live.parameters()), decay)
        for mine, theirs in zip(self.network.buffers(), self.live.buffers(), strict=True):
            mine.copy_(theirs)

    def state(self) -> dict[str, Tensor]:
        """Return the averages."""
        return dict(self.network.state_dict())

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what `state` returned."""
        self.network.load_state_dict(dict(tensors))


def decayed_parameters(model: nn.Module) -> list[bool]:
    """Return for each trained parameter whether weight decay applies: outside normalisation."""
    exempt = {
        id(parameter)
        for layer in model.modules()
        if isinstance(layer, _NORMALIZATION)
        for parameter in layer.parameters()
    }
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [id(parameter) not in exempt for parameter in trained]


class AveragedSgd:
    """Updates a model and the exponential moving average of its weights (section 4, tau).

    Attributes:
        averaged: a copy of the model with the averaged weights. Its batch-norm statistics are the
            live model's once `refresh_statistics` has run: the authors do not average them.
    """

    def __init__(self, model: ImageClassifier, weight_decay: float) -> None:
        self._model, self._weight_decay = model, weight_decay
        self.averaged = copy.deepcopy(model).requires_grad_(False)
        self._names = [name for name, p in model.named_parameters() if p.requires_grad]
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        averages = dict(self.averaged.named_parameters())
        self._averages = [averages[name] for name in self._names]
        self._momentum = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._decayed = decayed_parameters(model)

    def gradients(self) -> list[Tensor]:
        """Return the gradients of the last backward pass.

        Raises:
            UserError: the loss does not depend on a parameter.
        """
        gradients = []
        for name, parameter in zip(self._names, self._parameters, strict=True):
            if parameter.grad is None:
                raise UserError(
                    f"the loss does not depend on the parameter {name}: remove it, "
                    "or set its requires_grad to False"
                )
            gradients.append(parameter.grad)
        return gradients

    @torch.no_grad()
    def step(self, learning_rate: float, momentum: float, averaging_decay: float) -> None:
        """Update weights, momentum and average from the gradients, and drop the gradients."""
        ops.sgd_ema_step_(
            self._parameters,
            self.gradients(),
            self._momentum,
            self._averages,
            self._decayed,
            learning_rate,
            momentum,
            self._weight_decay,
            averaging_decay,
        )
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def refresh_statistics(self) -> None:
        """Copy the running statistics of batch norm into the averaged model."""
        for mine, live in zip(self.averaged.buffers(), self._model.buffers(), strict=True):
            mine.copy_(live)

    def state(self) -> dict[str, Tensor]:
        """Return weights, running statistics, momentum and average."""
        momentum = dict(zip(self._names, self._momentum, strict=True))
        averages = dict(zip(self._names, self._averages, strict=True))
        return {
            **{f"model.{name}": value for name, value in self._model.state_dict().items()},
            **{f"momentum.{name}": value for name, value in momentum.items()},
            **{f"average.{name}": value for name, value in averages.items()},
        }

    @torch.no_grad()
    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what `state` returned."""
        for name, value in self.state().items():
            value.copy_(tensors[name])

"""A classifier as the task of the training loop."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from pyrobust.models import ImageClassifier, ModelSpec, build_model, initialize
from pyrobust.training.loop import Metrics
from pyrobust.training.optimizer import AveragedSgd

# Measures a model; None if it was stopped on the way.
Validation = Callable[[ImageClassifier, Callable[[], bool]], Metrics | None]

_KEPT = "kept."


class ClassifierTask:
    """Trains with `step`, validates the averaged weights and keeps the best of them.

    Args:
        step: makes update t and returns its metrics.
        log_facts: what a log line says beside the metrics after t updates.
    """

    def __init__(
        self,
        step: Callable[[int], Tensor],
        metric_names: Sequence[str],
        log_facts: Callable[[int], Metrics],
        optimizer: AveragedSgd,
        validation: Validation | None = None,
    ) -> None:
        self.step, self.metric_names, self.log_facts = step, metric_names, log_facts
        self._optimizer, self._validation = optimizer, validation
        self._kept: dict[str, Tensor] = {}

    def validate(self, stopping: Callable[[], bool]) -> Metrics | None:
        """Measure the averaged weights; None if `stopping` turned true on the way."""
        assert self._validation is not None
        return self._validation(self.averaged_model(), stopping)

    def keep(self) -> None:
        """Keep a copy of the averaged weights."""
        state = self.averaged_model().state_dict()
        self._kept = {name: value.detach().cpu().clone() for name, value in state.items()}

    def averaged_model(self) -> ImageClassifier:
        """Return the averaged weights with the live running statistics, in evaluation mode."""
        self._optimizer.refresh_statistics()
        return self._optimizer.averaged

    def kept(self) -> dict[str, Tensor]:
        """Return the state dict that was kept last."""
        return self._kept

    def state(self) -> dict[str, Tensor]:
        """Return all tensors that the next step depends on, and those kept."""
        return {
            **self._optimizer.state(),
            **{f"{_KEPT}{name}": value for name, value in self._kept.items()},
        }

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `state` returned."""
        self._optimizer.load_state(tensors)
        self._kept = {
            name.removeprefix(_KEPT): value
            for name, value in tensors.items()
            if name.startswith(_KEPT)
        }


def new_model(
    spec: ModelSpec, seed: int, zero_logits: bool, channels_last: bool, device: torch.device
) -> ImageClassifier:
    """Return a network with the initial weights of `seed`, the same on every device."""
    model = build_model(spec)
    initialize(model, torch.Generator().manual_seed(seed), zero_logits)
    model.to(device)
    if channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model

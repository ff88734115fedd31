"""The passes through a network that an objective may make within one step."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pyrobust.attacks.inner_attack import InnerAttack
from pyrobust.attacks.network_passes import LogitsFn
from pyrobust.models import batch_statistics, tracked_statistics
from pyrobust.models.batch_norm import running_momentum
from pyrobust.training.data_parallel import Processes
from pyrobust.training.loader import TrainingBatch


class Passes:
    """Clean, attacked and weight-shifted passes, on the batch statistics that are asked for.

    Args:
        logits_fn: the passes of `model` in the precision of the training.
        attack: the inner attack; None for a training without one.
        tracked_passes: passes of every step that move the running statistics.
    """

    def __init__(
        self,
        model: nn.Module,
        logits_fn: LogitsFn,
        attack: InnerAttack | None,
        tracked_passes: int,
        processes: Processes,
    ) -> None:
        self._model, self._logits_fn, self._attack = model, logits_fn, attack
        self._tracked_passes, self._processes = tracked_passes, processes
        self._step, self._tracked, self._tracking = 0, 0, True
        self._clean: Tensor | None = None

    def begin(self, step: int) -> None:
        """Start step `step`, counted from 0."""
        self._step, self._tracked, self._clean = step, 0, None

    def logits(self, x: Tensor, *, tracked: bool) -> Tensor:
        """Return the logits (N, K) of x (N, C, H, W) with their graph.

        Batch norm uses the statistics of x.

        Args:
            tracked: whether this pass moves the running statistics.
        """
        if not (tracked and self._tracking):
            with batch_statistics(self._model):
                return self._logits_fn(x)
        self._tracked += 1
        update = self._tracked_passes * self._step + self._tracked
        with tracked_statistics(self._model, running_momentum(update)):
            return self._logits_fn(x)

    def clean(self, batch: TrainingBatch, *, tracked: bool = False) -> Tensor:
        """Return the logits of the clean images, computed once for the same weights."""
        if self._clean is None:
            self._clean = self.logits(batch.x, tracked=tracked)
        return self._clean

    def attack(self, batch: TrainingBatch, target: Tensor) -> Tensor:
        """Return x_adv that maximises the cross-entropy to `target`, by the inner attack.

        Args:
            target: labels (N,) int64 or probabilities (N, K).
        """
        assert self._attack is not None, "this training has no inner attack"
        with batch_statistics(self._model):
            return self._attack(batch.x, batch.positions, target.detach(), self._step)

    @property
    def network(self) -> nn.Module:
        """The network in training, for an objective that propagates more than images."""
        return self._model

    @property
    def step(self) -> int:
        """Number of the step, from 0."""
        return self._step

    @property
    def weights(self) -> list[Tensor]:
        """Weights of convolutions and linear layers: parameters of two or more dimensions."""
        return [p for p in self._model.parameters() if p.requires_grad and p.dim() > 1]

    def average_(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their mean over all processes, each of which has its own slice."""
        self._processes.average_(tensors)

    @contextmanager
    def untracked(self) -> Iterator[None]:
        """Leave the running statistics alone inside the block, whatever a pass asks for."""
        self._tracking = False
        try:
            yield
        finally:
            self._tracking = True

    @contextmanager
    @torch.no_grad()
    def shifted(self, shifts: list[Tensor]) -> Iterator[None]:
        """Add `shifts` to `weights` inside the block; the weights return with the same bits."""
        weights = self.weights
        kept = [weight.clone() for weight in weights]
        torch._foreach_add_(weights, shifts)
        self._clean = None
        try:
            with torch.enable_grad():
                yield
        finally:
            torch._foreach_copy_(weights, kept)
            self._clean = None

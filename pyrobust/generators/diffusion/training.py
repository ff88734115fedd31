"""The update that all diffusion models share: a loss on noisy images, Adam, the weight average."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from pyrobust.generators.base import Fit
from pyrobust.generators.training import NetworkTraining
from pyrobust.training.adam import AdamUpdate


class DiffusionTraining(NetworkTraining):
    """Trains a network to see the image in a noisy one.

    Args:
        max_norm: gradients are shortened to this norm; None leaves them.
    """

    def __init__(self, fit: Fit, network: nn.Module, max_norm: float | None) -> None:
        super().__init__(fit, network)
        self.network = network.train()
        self._adam = AdamUpdate(network, fit.processes)
        self._max_norm = max_norm
        self.parts["adam"] = self._adam

    @abstractmethod
    def losses(self, images: Tensor, labels: Tensor, positions: Tensor, step: int) -> Tensor:
        """Return the loss of each image, (B,) float32.

        Args:
            images: (B, C, H, W) in [-1, 1].
            labels: (B,) int64.
            positions: (B,) of the images in the whole batch.
        """

    def learning_rate(self, step: int) -> float:
        """Return the rate: it rises linearly over the first `warmup_steps`, then stays."""
        share = min(1.0, (step + 1) / max(1, self.settings.warmup_steps))
        return share * self.settings.learning_rate

    def update(self, step: int) -> Tensor:
        """Make update `step` and return the mean loss."""
        batch = self.loader.batch(step)
        loss = self.losses(2 * batch.x - 1, batch.labels, batch.positions, step).mean()
        torch.autograd.backward(loss)
        metrics = loss.detach()[None]
        self.processes.average_([metrics])
        self._adam.step(self.learning_rate(step), self._max_norm)
        self.average.update(self.averaging_decay(step))
        return metrics

"""Training of the VDVAE: the evidence lower bound in nats a dimension."""

import math

import torch
from torch import Tensor

from pyrobust.generators.base import Fit
from pyrobust.generators.training import NetworkTraining
from pyrobust.generators.vdvae.mixture import log_likelihood
from pyrobust.generators.vdvae.network import Vdvae
from pyrobust.training.adam import AdamUpdate

# The authors' optimiser for CIFAR-10: short second moments, and updates that are shortened to a
# norm of 200 and skipped from 400 on, since a rare batch would undo much (section 3.3).
_BETAS = (0.9, 0.9)
_MAX_NORM, _SKIP_NORM = 200.0, 400.0


class VdvaeTraining(NetworkTraining):
    """Minimises distortion + rate: the image's code length in nats a dimension."""

    metric_names = ("loss", "distortion", "rate", "gradient_norm")
    mirrors = False
    max_loss = math.inf  # the update of a batch that costs too much is skipped

    def __init__(self, fit: Fit, network: Vdvae) -> None:
        super().__init__(fit, network)
        self._network = network
        self._optimizer = AdamUpdate(
            network, fit.processes, _BETAS, weight_decay=self.settings.weight_decay
        )
        self.parts["optimizer"] = self._optimizer

    def learning_rate(self, step: int) -> float:
        """Return the rate of update `step`, which rises linearly in the beginning."""
        warmup = max(1, self.settings.warmup_steps)
        return self.settings.learning_rate * min(1.0, (step + 1) / warmup)

    def update(self, step: int) -> Tensor:
        """Make update `step`."""
        batch = self.loader.batch(step)
        noise = self.normal(batch.positions, step, (self._network.num_latents,))
        with self.passes():
            parameters, divergence = self._network(batch.x, noise)
        dimensions = batch.x[0].numel()
        distortion = -log_likelihood(parameters.float(), batch.x).mean() / dimensions
        rate = divergence.mean() / dimensions
        loss = distortion + rate
        loss.backward()  # type: ignore[no-untyped-call]
        norm = self._optimizer.step(self.learning_rate(step), _MAX_NORM, _SKIP_NORM)
        self.average.update(self.averaging_decay(step))
        metrics = torch.stack([loss.detach(), distortion.detach(), rate.detach(), norm])
        self.processes.average_([metrics])
        return metrics

"""The very deep VAE (Child 2021): training by the evidence lower bound, and sampling."""

import math
from typing import cast

import torch
from torch import Tensor, nn

from pyrobust import ops
from pyrobust.generators.base import Fit, GeneratorSpec
from pyrobust.generators.network_training import NetworkTraining
from pyrobust.generators.trained import TrainedGenerator, square_side
from pyrobust.generators.vdvae.mixture import count_uniforms, draw, log_likelihood
from pyrobust.generators.vdvae.network import Vdvae
from pyrobust.training.adam import AdamUpdate

# The authors' optimiser for CIFAR-10: a low second beta, gradients clipped to a norm of 200, and
# updates skipped from a norm of 400, since rare batches are destructive (section 3.3).
_BETAS = (0.9, 0.9)
_MAX_NORM, _SKIP_NORM = 200.0, 400.0


class VdvaeTraining(NetworkTraining):
    """Minimises distortion + rate, the negative ELBO in nats per dimension."""

    update_metrics = ("loss", "distortion", "rate", "gradient_norm")
    mirrors = False
    max_loss = math.inf  # updates of bad batches are skipped instead

    def __init__(self, fit: Fit, network: Vdvae) -> None:
        kind = fit.processes.device.type
        if kind == "cpu":
            # The many small convolutions are a sixth faster in this memory layout.
            network.to(memory_format=torch.channels_last)
        super().__init__(fit, network)
        self._network = network
        self._optimizer = AdamUpdate(
            network,
            fit.processes,
            _BETAS,
            weight_decay=self.settings.weight_decay,
            fused=kind in ("cpu", "cuda"),
        )
        self.parts["optimizer"] = self._optimizer

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of update `step`, with linear warm-up."""
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
        norm = self._optimizer.step(loss, self.learning_rate(step), _MAX_NORM, _SKIP_NORM)
        metrics = torch.stack([loss.detach(), distortion.detach(), rate.detach(), norm])
        self.processes.average_([metrics])
        return metrics


# Resolutions up to this one start from a learned constant.
_NO_BIAS_ABOVE = 64

# Width of the inner convolutions as a share of the network's.
_BOTTLENECK = 0.25


class VdvaeGenerator(TrainedGenerator):
    """Unconditional samples at temperature 1."""

    @classmethod
    def build_network(cls, spec: GeneratorSpec) -> nn.Module:
        """Return the network of the settings."""
        settings = spec.settings
        return Vdvae(
            square_side(spec.image_shape),
            spec.image_shape[2],
            settings.width,
            _BOTTLENECK,
            settings.latent_size,
            settings.mixtures,
            _NO_BIAS_ABOVE,
            settings.encoder_blocks,
            settings.decoder_blocks,
        )

    @classmethod
    def training(cls, fit: Fit, network: nn.Module) -> NetworkTraining:
        """Return the training by the evidence lower bound."""
        network = cast(Vdvae, network)
        network.normalize_by(fit.dataset.mean, fit.dataset.std)
        return VdvaeTraining(fit, network)

    def draw(self, ids: Tensor, classes: Tensor | None, seed: int) -> Tensor:
        """Return images (N, C, H, W) uint8; pixel values are truncated, as in the public code."""
        network = cast(Vdvae, self.network)
        parameters, _ = network.decoder(ops.normal(ids, (network.num_latents,), seed))
        shape = (count_uniforms(network.channels, network.mixtures), *parameters.shape[2:])
        uniforms = ops.uniform(ids, shape, seed, stream=1)
        drawn = draw(parameters.float(), uniforms, network.channels)
        return ((drawn + 1) * 127.5).to(torch.uint8)

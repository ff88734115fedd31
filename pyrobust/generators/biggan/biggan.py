"""BigGAN (Brock et al. 2019): its losses, training and sampling."""

import copy
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyrobust import ops
from pyrobust.generators.base import Fit, GeneratorSpec
from pyrobust.generators.biggan.networks import (
    DiscriminatorNetwork,
    GeneratorNetwork,
    add_spectral_norm,
    gathered_statistics,
    initialize,
    state_without_spectral_norm,
)
from pyrobust.generators.network_training import AVERAGE, LIVE, NetworkTraining
from pyrobust.generators.trained import TrainedGenerator, square_side, to_uint8
from pyrobust.training.adam import AdamUpdate


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return E[max(0, 1 - D(real))] + E[max(0, 1 + D(fake))]; scores are (N,)."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """Return -E[D(fake)]; scores are (N,)."""
    return -fake.mean()


_BETAS = (0.0, 0.999)

# Batches that the standing statistics are means over.
_STANDING_BATCHES = 16

# Streams of the latents: the discriminator's fakes, the generator's, and those of the statistics.
_FOR_DISCRIMINATOR, _FOR_GENERATOR, _FOR_STATISTICS = range(3)


class BigGanTraining(NetworkTraining):
    """Hinge loss between two networks with spectral norm.

    Fakes are asked to be of the classes of the real images beside them.
    """

    update_metrics = ("discriminator_loss", "generator_loss", "real_score", "fake_score")
    mirrors = False

    def __init__(
        self, fit: Fit, network: GeneratorNetwork, discriminator: DiscriminatorNetwork
    ) -> None:
        settings = fit.settings
        orthogonal = settings.initialization == "orthogonal"
        random = torch.Generator().manual_seed(settings.seed)
        for model in (network, discriminator):
            initialize(model.cpu(), random, orthogonal)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(settings.seed)  # of the first singular vectors
                add_spectral_norm(model, embeddings=model is discriminator)
            model.to(fit.processes.device)
        super().__init__(fit, network)
        self._generator, self._discriminator = network, discriminator
        self._generator_update = AdamUpdate(network, fit.processes, _BETAS)
        self._discriminator_update = AdamUpdate(discriminator, fit.processes, _BETAS)
        self.parts["generator"] = self._generator_update
        self.parts["discriminator"] = self._discriminator_update

    def update(self, step: int) -> Tensor:
        """Make update `step`: all those of the discriminator, then that of the generator."""
        batch = self.loader.batch(step)
        parts = (2 * batch.x - 1, batch.labels, batch.positions)
        chunks = [part.chunk(self.settings.discriminator_steps) for part in parts]
        self._discriminator.requires_grad_(True)
        for of_chunk in zip(*chunks, strict=True):
            scores = self._update_discriminator(step, *of_chunk)
        self._discriminator.requires_grad_(False)
        loss = self._update_generator(step, chunks[1][0], chunks[2][0])
        metrics = torch.stack([scores[0], loss, *scores[1:]])
        self.processes.average_([metrics])
        return metrics

    def _update_discriminator(
        self, step: int, real: Tensor, labels: Tensor, positions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return loss, mean score of real and of fake images."""
        with self.passes():
            with torch.no_grad():
                fake = self._generator(self._latents(positions, step, _FOR_DISCRIMINATOR), labels)
            # One pass for both: each pass is a step of the power iteration.
            scores = self._discriminator(torch.cat([real, fake]), labels.repeat(2)).float()
        of_real, of_fake = scores.chunk(2)
        loss = discriminator_loss(of_real, of_fake)
        loss.backward()  # type: ignore[no-untyped-call]
        self._discriminator_update.step(loss, self.learning_rate(step))
        return loss.detach(), of_real.detach().mean(), of_fake.detach().mean()

    def _update_generator(self, step: int, labels: Tensor, positions: Tensor) -> Tensor:
        with self.passes():
            fake = self._generator(self._latents(positions, step, _FOR_GENERATOR), labels)
            loss = generator_loss(self._discriminator(fake, labels).float())
        loss.backward()  # type: ignore[no-untyped-call]
        self._generator_update.step(loss, self.learning_rate(step))
        return loss.detach()

    def _latents(self, positions: Tensor, step: int, stream: int) -> Tensor:
        return self.normal(positions, step, (self._generator.latent_size,), stream)

    def weights(self) -> dict[str, Tensor]:
        """Return averaged and live weights, each with standing statistics of its own."""
        networks = {AVERAGE: self.average.network, LIVE: self._generator}
        return {
            f"{prefix}{name}": value.detach().cpu().clone()
            for prefix, network in networks.items()
            for name, value in self._finished(network).items()
        }

    @torch.no_grad()
    def _finished(self, network: nn.Module) -> dict[str, Tensor]:
        """Return the weights that sample: with standing statistics, without spectral norm."""
        result = copy.deepcopy(network)
        positions = torch.arange(self.settings.batch_size, device=self.processes.device)
        labels = positions % self.fit.dataset.num_classes
        with gathered_statistics(result):
            for number in range(_STANDING_BATCHES):
                result(self._latents(positions, number, _FOR_STATISTICS), labels)
        return state_without_spectral_norm(result.eval())


class BigGanGenerator(TrainedGenerator):
    """Class-conditional samples without truncation of the latents."""

    conditional = True

    @classmethod
    def build_network(cls, spec: GeneratorSpec) -> nn.Module:
        """Return the generator network, without spectral norm."""
        settings = spec.settings
        return GeneratorNetwork(
            square_side(spec.image_shape),
            spec.image_shape[2],
            len(spec.class_names),
            settings.latent_size,
            settings.width,
        )

    @classmethod
    def training(cls, fit: Fit, network: nn.Module) -> NetworkTraining:
        """Return the training against a discriminator of the same width."""
        spec = fit.spec
        height, _, channels = spec.image_shape
        discriminator = DiscriminatorNetwork(
            height, channels, len(spec.class_names), spec.settings.width
        )
        return BigGanTraining(fit, cast(GeneratorNetwork, network), discriminator)

    def draw(self, ids: Tensor, classes: Tensor | None, seed: int) -> Tensor:
        """Return images (N, C, H, W) uint8 of the classes."""
        network = cast(GeneratorNetwork, self.network)
        return to_uint8(network(ops.normal(ids, (network.latent_size,), seed), classes))

"""BigGAN (Brock et al. 2019): hinge losses, and training against a discriminator."""

import copy
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyrobust.generators.base import Fit
from pyrobust.generators.biggan.networks import (
    DiscriminatorNetwork,
    GeneratorNetwork,
    add_spectral_norm,
    gathered_statistics,
    initialize,
    state_without_spectral_norm,
)
from pyrobust.generators.gan import GanGenerator
from pyrobust.generators.network_training import NetworkTraining
from pyrobust.training.adam import AdamUpdate
from pyrobust.training.loader import TrainingBatch


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return E[max(0, 1 - D(real))] + E[max(0, 1 + D(fake))]; scores are (N,)."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """Return -E[D(fake)]; scores are (N,)."""
    return -fake.mean()


_BETAS = (0.0, 0.999)

# Batches of the standing statistics. With random classes, each class of CIFAR-100 appears in about
# eighty of them at the authors' batch size.
_STANDING_BATCHES = 200

# Streams of the noise: latents of the discriminator's fakes, of the generator's and of the
# standing statistics, and the classes of the last.
_FOR_DISCRIMINATOR, _FOR_GENERATOR, _FOR_STATISTICS, _CLASSES = range(4)


class BigGanTraining(NetworkTraining):
    """Hinge loss between two networks with spectral norm.

    The discriminator compares real images with fakes of the same classes.
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
                torch.manual_seed(settings.seed)  # for the initial singular vectors
                add_spectral_norm(model, embeddings=model is discriminator)
            model.to(fit.processes.device)
        super().__init__(fit, network)
        self._generator, self._discriminator = network, discriminator
        self._generator_update = AdamUpdate(network, fit.processes, _BETAS)
        self._discriminator_update = AdamUpdate(discriminator, fit.processes, _BETAS)
        self.parts["generator"] = self._generator_update
        self.parts["discriminator"] = self._discriminator_update

    def update(self, step: int) -> Tensor:
        """Update the discriminator on each of the step's batches, then the generator once."""
        rate, numbers = self.learning_rate(step), self.batch_numbers(step)
        self._discriminator.requires_grad_(True)
        for number in numbers:
            batch = self.loader.batch(number)
            if number == numbers[0]:
                first = batch
            scores = self._update_discriminator(number, batch, rate)
        self._discriminator.requires_grad_(False)
        loss = self._update_generator(numbers[0], first, rate)
        metrics = torch.stack([scores[0], loss, *scores[1:]])
        self.processes.average_([metrics])
        return metrics

    def _update_discriminator(
        self, number: int, batch: TrainingBatch, rate: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss, and the mean scores of real and of fake images."""
        with self.passes():
            with torch.no_grad():
                latents = self._latents(batch.positions, number, _FOR_DISCRIMINATOR)
                fake = self._generator(latents, batch.labels)
            # One pass for both, since each pass makes a step of the power iteration.
            images = torch.cat([2 * batch.x - 1, fake])
            scores = self._discriminator(images, batch.labels.repeat(2)).float()
        of_real, of_fake = scores.chunk(2)
        loss = discriminator_loss(of_real, of_fake)
        loss.backward()  # type: ignore[no-untyped-call]
        self._discriminator_update.step(loss, rate)
        return loss.detach(), of_real.detach().mean(), of_fake.detach().mean()

    def _update_generator(self, number: int, batch: TrainingBatch, rate: float) -> Tensor:
        with self.passes():
            latents = self._latents(batch.positions, number, _FOR_GENERATOR)
            fake = self._generator(latents, batch.labels)
            loss = generator_loss(self._discriminator(fake, batch.labels).float())
        loss.backward()  # type: ignore[no-untyped-call]
        self._generator_update.step(loss, rate)
        return loss.detach()

    def _latents(self, positions: Tensor, number: int, stream: int) -> Tensor:
        return self.normal(positions, number, (self._generator.num_normals,), stream)

    @torch.no_grad()
    def finished(self, network: nn.Module) -> dict[str, Tensor]:
        """Return the weights for sampling, with standing statistics and without spectral norm."""
        result = copy.deepcopy(network)
        with gathered_statistics(result):
            for number in range(_STANDING_BATCHES):
                result(*self.statistics_batch(number))
        return state_without_spectral_norm(result.eval())

    def statistics_batch(self, number: int) -> tuple[Tensor, Tensor]:
        """Return latents (batch_size, latent_size) and random classes (batch_size,) of one batch
        for the standing statistics; all classes are equally likely, whatever the batch size.
        """
        positions = torch.arange(self.settings.batch_size, device=self.processes.device)
        uniform = self.uniform(positions, number, (), _CLASSES)
        classes = (uniform * self.fit.dataset.num_classes).long()
        return self._latents(positions, number, _FOR_STATISTICS), classes


class BigGanGenerator(GanGenerator):
    """BigGAN, saved without spectral norm and with standing statistics."""

    generator_network = GeneratorNetwork
    discriminator_network = DiscriminatorNetwork

    @classmethod
    def training(cls, fit: Fit, network: nn.Module) -> NetworkTraining:
        """Return the training against a discriminator of the same width."""
        discriminator = cast(DiscriminatorNetwork, cls.build_discriminator(fit.spec))
        return BigGanTraining(fit, cast(GeneratorNetwork, network), discriminator)

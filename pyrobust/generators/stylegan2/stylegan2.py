"""StyleGAN2 with ADA: losses, R1, and training with lazy regularisation."""

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyrobust.generators.base import Fit
from pyrobust.generators.gan import GanGenerator
from pyrobust.generators.network_training import NetworkTraining, seed_of
from pyrobust.generators.resampling import symlet_taps
from pyrobust.generators.stylegan2.adaptive_augmentation import (
    NUM_NORMALS,
    NUM_UNIFORMS,
    AdaptiveProbability,
    augment,
)
from pyrobust.generators.stylegan2.discriminator import DiscriminatorNetwork
from pyrobust.generators.stylegan2.synthesis import GeneratorNetwork
from pyrobust.training.adam import AdamUpdate
from pyrobust.training.data_parallel import Processes
from pyrobust.training.loader import TrainingBatch


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return -E[log sigmoid(D(real))] - E[log(1 - sigmoid(D(fake)))]; scores are (N,)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """Return -E[log sigmoid(D(fake))]; scores are (N,)."""
    return F.softplus(-fake).mean()


def r1_penalty(scores_of: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Return half the mean squared norm of the scores' gradient at real images.

    Args:
        scores_of: images to scores (N,).
        images: (N, C, H, W).
    """
    images = images.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(scores_of(images).sum(), images, create_graph=True)
    return 0.5 * gradient.square().sum((1, 2, 3)).mean()


_BETAS = (0.0, 0.99)

# Lazy regularisation (StyleGAN2, appendix B): R1 is computed in every 16th step, with 16 times its
# weight, as a separate update. Adam then makes (k + 1) / k times as many updates, so its rate and
# betas are adjusted. The generator's interval is 4; the authors keep its factor of 4 / 5 for
# CIFAR, although they use no path length penalty there.
_PENALTY_INTERVAL = 16
_DISCRIMINATOR_SHARE = _PENALTY_INTERVAL / (_PENALTY_INTERVAL + 1)
_GENERATOR_SHARE = 4 / 5


def _lazy_adam(network: nn.Module, processes: Processes, share: float) -> AdamUpdate:
    """Return Adam with the betas of lazy regularisation."""
    return AdamUpdate(network, processes, (_BETAS[0] ** share, _BETAS[1] ** share))


# Streams of noise: latents and noise maps of the fakes for either network, and augmentations.
_FOR_DISCRIMINATOR, _FOR_GENERATOR, _OF_REAL, _OF_FAKE, _OF_GENERATED, _OF_PENALTY = range(6)


class StyleGan2Training(NetworkTraining):
    """Non-saturating loss, lazy R1, and adaptive augmentation.

    Fakes have the classes of the real images in the batch. As for CIFAR in the paper, there is no
    path length penalty and no style mixing.
    """

    update_metrics = ("discriminator_loss", "generator_loss", "overfitting", "augment_probability")
    mirrors = False

    def __init__(
        self, fit: Fit, network: GeneratorNetwork, discriminator: DiscriminatorNetwork
    ) -> None:
        super().__init__(fit, network)
        self._generator, self._discriminator = network, discriminator
        self._generator_update = _lazy_adam(network, fit.processes, _GENERATOR_SHARE)
        self._discriminator_update = _lazy_adam(discriminator, fit.processes, _DISCRIMINATOR_SHARE)
        self._adaptive = AdaptiveProbability(
            self.settings.augment_target, self.settings.augment_images, fit.processes.device
        )
        self._taps = symlet_taps().to(self.processes.device)
        # The probability stays at 0 if the target cannot be exceeded.
        self._augments = self.settings.augment_target < 1
        self.parts["generator"] = self._generator_update
        self.parts["discriminator"] = self._discriminator_update
        self.parts["augment"] = self._adaptive

    def update(self, step: int) -> Tensor:
        """Update the discriminator, with its penalty every 16th step, then the generator."""
        batch, p = self.loader.batch(step), self._adaptive.p
        self._discriminator.requires_grad_(True)
        of_discriminator, overfitting = self._update_discriminator(step, batch)
        if step % _PENALTY_INTERVAL == 0:
            self._penalize(step, batch)
        self._discriminator.requires_grad_(False)
        of_generator = self._update_generator(step, batch)
        metrics = torch.stack([of_discriminator, of_generator, overfitting, p])
        self.processes.average_([metrics])
        self._adaptive.update(step, metrics[2], self.settings.batch_size)
        return metrics

    def _update_discriminator(self, step: int, batch: TrainingBatch) -> tuple[Tensor, Tensor]:
        """Return the loss and the mean sign of the scores of real images."""
        with self.passes():
            with torch.no_grad():
                fake = self._fakes(step, batch, _FOR_DISCRIMINATOR)
            # Two passes, so that a group for the minibatch deviation has only real or fake images.
            of_real = self._score(_scaled(batch.x), step, batch, _OF_REAL)
            of_fake = self._score(fake, step, batch, _OF_FAKE)
        loss = discriminator_loss(of_real, of_fake)
        loss.backward()  # type: ignore[no-untyped-call]
        self._discriminator_update.step(loss, self.learning_rate(step) * _DISCRIMINATOR_SHARE)
        return loss.detach(), of_real.detach().sign().mean()

    def _penalize(self, step: int, batch: TrainingBatch) -> None:
        penalty = r1_penalty(lambda x: self._score(x, step, batch, _OF_PENALTY), _scaled(batch.x))
        weighted = self.settings.r1_gamma * _PENALTY_INTERVAL * penalty
        weighted.backward()  # type: ignore[no-untyped-call]
        self._discriminator_update.step(weighted, self.learning_rate(step) * _DISCRIMINATOR_SHARE)

    def _update_generator(self, step: int, batch: TrainingBatch) -> Tensor:
        with self.passes():
            fake = self._fakes(step, batch, _FOR_GENERATOR)
            loss = generator_loss(self._score(fake, step, batch, _OF_GENERATED))
        loss.backward()  # type: ignore[no-untyped-call]
        self._generator_update.step(loss, self.learning_rate(step) * _GENERATOR_SHARE)
        return loss.detach()

    def _fakes(self, step: int, batch: TrainingBatch, stream: int) -> Tensor:
        normals = self.normal(batch.positions, step, (self._generator.num_normals,), stream)
        images: Tensor = self._generator(normals, batch.labels).float()
        return images

    def _score(self, images: Tensor, step: int, batch: TrainingBatch, stream: int) -> Tensor:
        """Return the scores (N,) float32 of augmented images of the batch's classes."""
        seen = self._augmented(images, step, batch, stream) if self._augments else images
        scores: Tensor = self._discriminator(seen, batch.labels).float()
        return scores

    def _augmented(self, images: Tensor, step: int, batch: TrainingBatch, stream: int) -> Tensor:
        uniforms = self.uniform(batch.positions, step, (NUM_UNIFORMS,), stream)
        normals = self.normal(batch.positions, step, (NUM_NORMALS,), stream)
        with torch.autocast(images.device.type, enabled=False):
            return augment(images, self._adaptive.p, uniforms, normals, self._taps)


def _scaled(x: Tensor) -> Tensor:
    """Return images in [0, 1] rescaled to [-1, 1]."""
    return 2 * x - 1


# Second number of the seed of the discriminator's initial weights.
_DISCRIMINATOR = 1


class StyleGan2Generator(GanGenerator):
    """StyleGAN2; each sample has its own noise."""

    generator_network = GeneratorNetwork
    discriminator_network = DiscriminatorNetwork

    @classmethod
    def training(cls, fit: Fit, network: nn.Module) -> NetworkTraining:
        """Return the training against a discriminator of the same width."""
        with torch.random.fork_rng(devices=[]):
            # The generator's weights are drawn from the seed of the settings itself.
            torch.manual_seed(seed_of(fit.settings.seed, _DISCRIMINATOR))
            discriminator = cls.build_discriminator(fit.spec).to(fit.processes.device)
        return StyleGan2Training(
            fit, cast(GeneratorNetwork, network), cast(DiscriminatorNetwork, discriminator)
        )

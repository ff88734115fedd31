"""EDM (Karras et al. 2022): preconditioning, loss, sampler, training and generator.

Images are float32 in [-1, 1]; x = image + σ · normal noise.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyrobust import ops
from pyrobust.generators.base import Fit, GeneratorSpec
from pyrobust.generators.diffusion.augmentation import (
    NUM_LABELS,
    NUM_NORMALS,
    NUM_UNIFORMS,
    augment,
)
from pyrobust.generators.diffusion.diffusion import DiffusionGenerator, DiffusionTraining
from pyrobust.generators.diffusion.unet import add_condition
from pyrobust.generators.resampling import symlet_taps
from pyrobust.generators.trained import to_uint8

# Standard deviation of the data (section 5), and noise levels of sampling (Table 1).
SIGMA_DATA = 0.5
SIGMA_MIN, SIGMA_MAX, RHO = 0.002, 80.0, 7.0

# ln σ of training is normal with this mean and standard deviation (Table 1).
LOG_SIGMA_MEAN, LOG_SIGMA_STD = -1.2, 1.2

# (scaled x, c_noise (N,)) -> raw output of the network, float32.
Network = Callable[[Tensor, Tensor], Tensor]

# (x, σ (N,)) -> prediction of the image.
Denoise = Callable[[Tensor, Tensor], Tensor]


def preconditioned(network: Network) -> Denoise:
    """Return D(x; σ) = c_skip x + c_out F(c_in x; c_noise) (Eq. 7 and Table 1)."""

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        level = sigma.view(-1, *[1] * (x.dim() - 1))
        total = level.square() + SIGMA_DATA**2
        c_skip = SIGMA_DATA**2 / total
        c_out = level * SIGMA_DATA / total.sqrt()
        c_in = total.rsqrt()
        return c_skip * x + c_out * network(c_in * x, sigma.log() / 4)

    return denoise


def training_sigmas(normal: Tensor) -> Tensor:
    """Return the noise levels of training from standard normal numbers."""
    return (LOG_SIGMA_MEAN + LOG_SIGMA_STD * normal).exp()


def loss_weight(sigma: Tensor) -> Tensor:
    """Return λ(σ) = (σ² + σ_data²) / (σ σ_data)², which equalises all levels at initialisation."""
    return (sigma.square() + SIGMA_DATA**2) / (sigma * SIGMA_DATA).square()


def sampling_sigmas(num_steps: int) -> np.ndarray:
    """Return the noise levels of sampling (Eq. 5) and the 0 after them, (num_steps + 1,)."""
    ramp = np.linspace(0, 1, num_steps) if num_steps > 1 else np.zeros(1)
    high, low = SIGMA_MAX ** (1 / RHO), SIGMA_MIN ** (1 / RHO)
    return np.append((high + ramp * (low - high)) ** RHO, 0.0)


def heun(denoise: Denoise, x: Tensor, num_steps: int) -> Tensor:
    """Return images from standard normal x by Algorithm 1: 2 · num_steps - 1 network passes."""
    sigmas = sampling_sigmas(num_steps)
    x = x * float(sigmas[0])
    for sigma, after in pairwise(sigmas):
        slope = _slope(denoise, x, float(sigma))
        moved = x + float(after - sigma) * slope
        if after > 0:
            mean_slope = (slope + _slope(denoise, moved, float(after))) / 2
            moved = x + float(after - sigma) * mean_slope
        x = moved
    return x


def _slope(denoise: Denoise, x: Tensor, sigma: float) -> Tensor:
    """Return dx/dσ of the probability-flow equation (Eq. 3)."""
    return (x - denoise(x, torch.full((len(x),), sigma, device=x.device))) / sigma


# Streams of an image's random numbers in training: noise, noise level, and two for augmentation.
_NOISE, _LEVEL, _GATES, _SIZES = range(4)


class EdmTraining(DiffusionTraining):
    """Minimises λ(σ) |D(y + n; σ) - y|² over random noise levels σ (Eq. 8)."""

    def __init__(self, fit: Fit, network: nn.Module) -> None:
        self._augment_probability = fit.settings.augment_probability or 0.0
        # With augmentation, the network is conditioned on mirroring too.
        self.mirrors = not self._augment_probability
        super().__init__(fit, network, max_norm=None)
        self._taps = symlet_taps().to(self.processes.device)

    def losses(self, images: Tensor, labels: Tensor, positions: Tensor, step: int) -> Tensor:
        """Return the weighted mean squared error of the predicted image, (B,)."""
        augment_labels = None
        if self._augment_probability:
            images, augment_labels = self._augmented(images, positions, step)
        noise = self.normal(positions, step, images.shape[1:], _NOISE)
        sigma = training_sigmas(self.normal(positions, step, (), _LEVEL))
        classes = labels if self.settings.conditional else None
        condition = condition_on(classes, self.fit.dataset.num_classes, augment_labels)
        denoise = denoiser(self.network, condition)
        with self.passes():
            image = denoise(images + sigma.view(-1, 1, 1, 1) * noise, sigma)
        return loss_weight(sigma) * (image - images).square().mean(dim=(1, 2, 3))

    def _augmented(self, images: Tensor, positions: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Return transformed images, and the labels (B, NUM_LABELS) that describe them.

        As in the authors' settings, half of all images are mirrored where the data set allows it.
        """
        p = self._augment_probability
        uniforms = self.uniform(positions, step, (NUM_UNIFORMS,), _GATES)
        normals = self.normal(positions, step, (NUM_NORMALS,), _SIZES)
        mirror = 1.0 if self.fit.dataset.flip else p
        return augment(images, p, mirror, uniforms, normals, self._taps)


# Key of the facts of networks that are conditioned on augmentations.
_AUGMENT_LABELS = "augment_labels"


class EdmGenerator(DiffusionGenerator):
    """An EDM, class-conditional or not; sampled by Heun's method.

    With augmentation, its facts contain `augment_labels`, the length of the vectors that describe
    the augmentation.
    """

    @classmethod
    def network_facts(cls, spec: GeneratorSpec) -> dict[str, Any]:
        """Return the configuration of the U-Net, and the length of the augmentation's labels."""
        facts = super().network_facts(spec)
        return (
            {**facts, _AUGMENT_LABELS: NUM_LABELS} if spec.settings.augment_probability else facts
        )

    @classmethod
    def build_network(cls, spec: GeneratorSpec) -> nn.Module:
        """Return the network of the preset."""
        labels = NUM_LABELS if spec.settings.augment_probability else 0
        return _conditioned(super().build_network(spec), spec, labels)

    def make_network(self) -> nn.Module:
        """Return the network of the facts."""
        return _conditioned(super().make_network(), self.spec, self.facts.get(_AUGMENT_LABELS, 0))

    @classmethod
    def training(cls, fit: Fit, network: nn.Module) -> EdmTraining:
        """Return the training of the network."""
        return EdmTraining(fit, network)

    def draw(self, ids: Tensor, classes: Tensor | None, seed: int) -> Tensor:
        """Return the images after `sampling_steps` steps of Heun's method."""
        x = ops.normal(ids, self.shape, seed)
        count = self.facts.get(_AUGMENT_LABELS, 0)
        no_augmentation = x.new_zeros(len(ids), count) if count else None
        condition = condition_on(classes, len(self.spec.class_names), no_augmentation)
        denoise = denoiser(self.network, condition)
        return to_uint8(heun(denoise, x, self.spec.settings.sampling_steps))


def _conditioned(network: nn.Module, spec: GeneratorSpec, num_labels: int) -> nn.Module:
    """Return the network, with an input for augmentation labels if there are any."""
    if not num_labels:
        return network
    num_classes = len(spec.class_names) if spec.settings.conditional else 0
    return add_condition(network, num_classes + num_labels)


def condition_on(
    classes: Tensor | None, num_classes: int, augment_labels: Tensor | None
) -> Tensor | None:
    """Return the conditioning input of a network.

    Args:
        classes: (N,) int64, or None for an unconditional network.
        augment_labels: (N, NUM_LABELS), for a network that is trained with augmentation.

    Returns:
        Without labels, the classes; else (N, num_classes + NUM_LABELS) float32: the class as a
        one-hot vector, if there is one, then the labels.
    """
    if augment_labels is None or classes is None:
        return classes if augment_labels is None else augment_labels
    one_hot = F.one_hot(classes, num_classes).to(augment_labels.dtype)
    return torch.cat([one_hot, augment_labels], 1)


def denoiser(network: nn.Module, condition: Tensor | None) -> Denoise:
    """Return the preconditioned network as a function (x, σ) -> image."""

    def raw(x: Tensor, noise_level: Tensor) -> Tensor:
        prediction: Tensor = network(x, noise_level, condition).sample
        return prediction.float()

    return preconditioned(raw)

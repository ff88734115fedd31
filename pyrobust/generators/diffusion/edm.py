"""EDM (Karras et al. 2022): preconditioning, loss, sampler and generator.

Images are float32 in [-1, 1]; x = image + σ · normal noise.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from pyrobust import ops
from pyrobust.generators.base import Fit
from pyrobust.generators.diffusion.diffusion import DiffusionGenerator, DiffusionTraining
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
    """Return λ(σ) = (σ² + σ_data²) / (σ σ_data)², which makes all levels weigh alike at first."""
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


# Streams of an image's noise in training.
_NOISE, _LEVEL = 0, 1


class EdmTraining(DiffusionTraining):
    """Minimises λ(σ) |D(y + n; σ) - y|² over random noise levels σ (Eq. 8)."""

    def __init__(self, fit: Fit, network: nn.Module) -> None:
        super().__init__(fit, network, max_norm=None)

    def losses(self, images: Tensor, labels: Tensor, positions: Tensor, step: int) -> Tensor:
        """Return the weighted mean squared error of the predicted image, (B,)."""
        noise = self.normal(positions, step, images.shape[1:], _NOISE)
        sigma = training_sigmas(self.normal(positions, step, (), _LEVEL))
        denoise = denoiser(self.network, labels if self.settings.conditional else None)
        with self.passes():
            image = denoise(images + sigma.view(-1, 1, 1, 1) * noise, sigma)
        return loss_weight(sigma) * (image - images).square().mean(dim=(1, 2, 3))


class EdmGenerator(DiffusionGenerator):
    """An EDM, class-conditional or not; sampled by Heun's method."""

    @property
    def conditional(self) -> bool:  # type: ignore[override]
        """Whether each image is asked to be of one class."""
        return self.spec.settings.conditional

    @classmethod
    def training(cls, fit: Fit, network: nn.Module) -> EdmTraining:
        """Return the training of the network."""
        return EdmTraining(fit, network)

    def draw(self, ids: Tensor, classes: Tensor | None, seed: int) -> Tensor:
        """Return the images after `sampling_steps` steps of Heun's method."""
        x = ops.normal(ids, self.shape, seed)
        return to_uint8(heun(denoiser(self.network, classes), x, self.spec.settings.sampling_steps))


def denoiser(network: nn.Module, classes: Tensor | None) -> Denoise:
    """Return the preconditioned network as a function (x, σ) -> image."""

    def raw(x: Tensor, noise_level: Tensor) -> Tensor:
        prediction: Tensor = network(x, noise_level, classes).sample
        return prediction.float()

    return preconditioned(raw)

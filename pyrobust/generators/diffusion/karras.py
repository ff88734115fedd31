"""The design of Karras et al. 2022 (EDM): preconditioning, loss and sampler, from the paper.

Images are float32 in [-1, 1]; x = image + σ · normal noise.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

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

"""From noise to images by a network that predicts the noise of a step (DDPM).

Images are float32 in [-1, 1]. Coefficients are computed in float64 from the schedule.
"""

from collections.abc import Callable

import numpy as np
from torch import Tensor

from pyrobust.generators.diffusion.schedule import NoiseSchedule

# (x_t (N, C, H, W), step t) -> prediction of ε, as float32.
PredictNoise = Callable[[Tensor, int], Tensor]

# step t -> standard normal noise like x_t.
DrawNoise = Callable[[int], Tensor]


def ancestral(
    predict: PredictNoise, schedule: NoiseSchedule, x: Tensor, draw_noise: DrawNoise
) -> Tensor:
    """Return images from noise x by Algorithm 2 of Ho et al., one network pass for each step.

    The variance of step t is beta_t (`fixed_large`), and predicted images are clipped to [-1, 1].
    """
    bars = schedule.alpha_bars
    for t in range(schedule.num_steps - 1, -1, -1):
        beta, bar = schedule.betas[t], bars[t]
        bar_before = bars[t - 1] if t else 1.0
        image = _image(x, predict(x, t), bar).clamp(-1, 1)
        # Mean of q(x_{t-1} | x_t, x_0), Eq. 7.
        of_image = np.sqrt(bar_before) * beta / (1 - bar)
        of_x = np.sqrt(1 - beta) * (1 - bar_before) / (1 - bar)
        x = float(of_image) * image + float(of_x) * x
        if t:
            x = x + float(np.sqrt(beta)) * draw_noise(t)
    return x


def ddim(predict: PredictNoise, schedule: NoiseSchedule, x: Tensor, num_steps: int) -> Tensor:
    """Return images from noise x by Song et al. 2021 (Eq. 12 with sigma = 0), evenly in time."""
    bars = schedule.alpha_bars
    steps = schedule.evenly_in_time(num_steps)
    for t, after in zip(steps, [*steps[1:], None], strict=True):
        bar = bars[t]
        image = _image(x, predict(x, int(t)), bar).clamp(-1, 1)
        noise = (x - float(np.sqrt(bar)) * image) / float(np.sqrt(1 - bar))
        bar_after = 1.0 if after is None else bars[after]
        x = float(np.sqrt(bar_after)) * image + float(np.sqrt(1 - bar_after)) * noise
    return x


def dpm_solver(predict: PredictNoise, schedule: NoiseSchedule, x: Tensor, num_steps: int) -> Tensor:
    """Return images from noise x by DPM-Solver++(2M) (Lu et al. 2022, Algorithm 2).

    The steps lie evenly in λ, and the last one predicts the image itself.
    """
    bars, snrs = schedule.alpha_bars, schedule.half_log_snrs
    steps = schedule.evenly_in_log_snr(num_steps)
    image_before: Tensor | None = None
    for k, t in enumerate(steps):
        image = _image(x, predict(x, int(t)), bars[t]).clamp(-1, 1)
        if k == len(steps) - 1:
            return image
        after = steps[k + 1]
        width = snrs[after] - snrs[t]
        direction = image
        if image_before is not None:
            ratio = (snrs[t] - snrs[steps[k - 1]]) / width
            direction = image + float(1 / (2 * ratio)) * (image - image_before)
        of_x = np.sqrt((1 - bars[after]) / (1 - bars[t]))
        of_direction = -np.sqrt(bars[after]) * np.expm1(-width)
        x = float(of_x) * x + float(of_direction) * direction
        image_before = image
    return x


def _image(x: Tensor, noise: Tensor, bar: float) -> Tensor:
    """Return the image that x_t and its noise stand for."""
    return (x - float(np.sqrt(1 - bar)) * noise) / float(np.sqrt(bar))

"""DDPM (Ho et al. 2020): noise schedule, training, samplers and generator.

Steps count from 0, the least noise, to T - 1. Images are float32 in [-1, 1]. Coefficients are
computed in float64 from the schedule.

Weights can also come from a folder in `diffusers` format (`path`), such as a copy of
google/ddpm-cifar10-32.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from pyrobust import ops
from pyrobust.errors import UserError
from pyrobust.generators.base import GENERATOR, Fit, GeneratorSpec
from pyrobust.generators.diffusion.diffusion import DiffusionGenerator, DiffusionTraining
from pyrobust.generators.diffusion.unet import load_unet
from pyrobust.generators.network_training import AVERAGE
from pyrobust.generators.trained import to_uint8

# Ho et al., section 4.
STEPS, FIRST_BETA, LAST_BETA = 1000, 1e-4, 0.02


@dataclass(frozen=True)
class NoiseSchedule:
    """The noise schedule.

    Attributes:
        betas: variance of the noise that each step adds, (T,) float64.
    """

    betas: np.ndarray

    @classmethod
    def linear(cls, steps: int = STEPS, first: float = FIRST_BETA, last: float = LAST_BETA) -> Self:
        """Return the linear schedule."""
        return cls(np.linspace(first, last, steps))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return the schedule of a scheduler's configuration in `diffusers`.

        Raises:
            UserError: the model does not predict ε, or its betas are not linear.
        """
        for key, expected in (("beta_schedule", "linear"), ("prediction_type", "epsilon")):
            if config.get(key, expected) != expected or config.get("trained_betas") is not None:
                raise UserError(
                    f"unsupported scheduler: {key} is {config.get(key)!r}; expected "
                    f"{expected!r} (and no trained_betas)"
                )
        return cls.linear(
            config.get("num_train_timesteps", STEPS),
            config.get("beta_start", FIRST_BETA),
            config.get("beta_end", LAST_BETA),
        )

    def to_config(self) -> dict[str, Any]:
        """Return what `from_config` reads."""
        return {
            "num_train_timesteps": len(self.betas),
            "beta_start": float(self.betas[0]),
            "beta_end": float(self.betas[-1]),
            "beta_schedule": "linear",
            "prediction_type": "epsilon",
        }

    @property
    def num_steps(self) -> int:
        """T."""
        return len(self.betas)

    @property
    def alpha_bars(self) -> np.ndarray:
        """Fraction of the image's variance that remains after each step, (T,) float64."""
        return np.asarray(np.cumprod(1 - self.betas))

    @property
    def half_log_snrs(self) -> np.ndarray:
        """λ = log(signal / noise) = ½ log(alpha_bar / (1 - alpha_bar)), (T,), falling."""
        return np.asarray(0.5 * np.log(self.alpha_bars / (1 - self.alpha_bars)))

    def evenly_in_time(self, count: int) -> np.ndarray:
        """Return at most `count` steps, falling, evenly spread, from T - 1 on."""
        # Rounding may leave a further number just above 0, which is not a step.
        numbers = np.arange(self.num_steps, 0, -self.num_steps / count)[:count]
        return np.unique(numbers.round().astype(np.int64).clip(1) - 1)[::-1]

    def evenly_in_log_snr(self, count: int) -> np.ndarray:
        """Return at most `count` steps, falling, from T - 1 to 0: those nearest to an even λ grid.

        Lu et al. found this spacing best for pixels; the network sees no noise level that it was
        not trained on.
        """
        snrs = self.half_log_snrs
        grid = np.linspace(snrs[-1], snrs[0], count)
        nearest = np.abs(snrs[None] - grid[:, None]).argmin(axis=1)
        return np.unique(nearest)[::-1]


# Streams of an image's noise in training, and in sampling: the start, and step t at 1 + t.
_NOISE, _STEP = 0, 1
_START, _FIRST_STEP = 0, 1

# Maximum gradient norm (the authors' code).
_MAX_NORM = 1.0


class DdpmTraining(DiffusionTraining):
    """Minimises |ε - ε_θ(x_t, t)|² over random steps t (Eq. 14)."""

    def __init__(self, fit: Fit, network: nn.Module) -> None:
        super().__init__(fit, network, _MAX_NORM)
        self._num_steps = NoiseSchedule.linear().num_steps
        bars = torch.from_numpy(NoiseSchedule.linear().alpha_bars)
        self._of_image = bars.sqrt().float().to(self.processes.device)
        self._of_noise = (1 - bars).sqrt().float().to(self.processes.device)

    def losses(self, images: Tensor, labels: Tensor, positions: Tensor, step: int) -> Tensor:
        """Return the mean squared error of the predicted noise, (B,)."""
        noise = self.normal(positions, step, images.shape[1:], _NOISE)
        t = (self.uniform(positions, step, (), _STEP) * self._num_steps).long()
        of_image, of_noise = (
            table[t].view(-1, 1, 1, 1) for table in (self._of_image, self._of_noise)
        )
        with self.passes():
            predicted: Tensor = self.network(of_image * images + of_noise * noise, t).sample
        return (predicted.float() - noise).square().mean(dim=(1, 2, 3))


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
    """Return the clean image implied by x_t and its noise."""
    return (x - float(np.sqrt(1 - bar)) * noise) / float(np.sqrt(bar))


class DdpmGenerator(DiffusionGenerator):
    """An unconditional DDPM; its facts also contain `scheduler`, the noise schedule."""

    @classmethod
    def network_facts(cls, spec: GeneratorSpec) -> dict[str, Any]:
        """Return the configuration of the U-Net, and the noise schedule."""
        return {**super().network_facts(spec), "scheduler": NoiseSchedule.linear().to_config()}

    @classmethod
    def training(cls, fit: Fit, network: nn.Module) -> DdpmTraining:
        """Return the training of the network."""
        return DdpmTraining(fit, network)

    @classmethod
    def adopt(cls, fit: Fit, folder: Path) -> Self:
        """Load the weights of another generator, or of a folder in `diffusers` format."""
        if (folder / GENERATOR).is_file():
            return super().adopt(fit, folder)
        network, unet = load_unet(folder)
        height, width, channels = fit.spec.image_shape
        size = unet["sample_size"]
        sizes = [size, size] if isinstance(size, int) else list(size)
        theirs = (*sizes, unet["in_channels"], unet["out_channels"], unet["num_class_embeds"])
        if theirs != (height, width, channels, channels, None):
            raise UserError(
                f"the network in {folder} takes images of {sizes[0]}×{sizes[1]} with "
                f"{unet['in_channels']} input channels, {unet['out_channels']} output channels "
                f"and {unet['num_class_embeds']} classes; {height}×{width}, {channels}, "
                f"{channels} and None are required"
            )
        weights = {f"{AVERAGE}{name}": value for name, value in network.state_dict().items()}
        return cls(fit.spec, weights, None, {"unet": unet, "scheduler": _scheduler(folder)})

    def draw(self, ids: Tensor, classes: Tensor | None, seed: int) -> Tensor:
        """Return the images by the sampler of the settings."""
        settings, network = self.spec.settings, self.network
        schedule = NoiseSchedule.from_config(self.facts["scheduler"])

        def predict(x: Tensor, t: int) -> Tensor:
            prediction: Tensor = network(x, t).sample
            return prediction.float()

        def noise(stream: int) -> Tensor:
            return ops.normal(ids, self.shape, seed, stream)

        x = noise(_START)
        match settings.sampler:
            case "ancestral":
                x = ancestral(predict, schedule, x, lambda t: noise(_FIRST_STEP + t))
            case "ddim":
                x = ddim(predict, schedule, x, settings.sampling_steps)
            case "dpm_solver":
                x = dpm_solver(predict, schedule, x, settings.sampling_steps)
        return to_uint8(x)


def _scheduler(folder: Path) -> dict[str, Any]:
    """Return the noise schedule in a pipeline's folder; by default that of Ho et al."""
    for place in (folder / "scheduler", folder, folder.parent / "scheduler"):
        path = place / "scheduler_config.json"
        if path.is_file():
            # Not `read_json`: diffusers writes -Infinity for some samplers, which is not JSON.
            try:
                config = json.loads(path.read_text(encoding="utf-8"))
                return NoiseSchedule.from_config(config).to_config()
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
                raise UserError(f"{path} is damaged ({error!r}): get the file again") from error
    return NoiseSchedule.linear().to_config()

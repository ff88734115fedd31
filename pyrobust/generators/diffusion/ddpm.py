"""DDPM (Ho et al. 2020): a network predicts the noise in an image, step by step.

Its weights may also come from a folder of `diffusers` (`path`), such as a copy of
google/ddpm-cifar10-32.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from pyrobust import ops
from pyrobust.errors import UserError
from pyrobust.files import read_json
from pyrobust.generators.base import GENERATOR, Fit, GeneratorSpec
from pyrobust.generators.diffusion.generator import DiffusionGenerator
from pyrobust.generators.diffusion.samplers import ancestral, ddim, dpm_solver
from pyrobust.generators.diffusion.schedule import NoiseSchedule
from pyrobust.generators.diffusion.training import DiffusionTraining
from pyrobust.generators.diffusion.unet import load_unet
from pyrobust.generators.trained import to_uint8
from pyrobust.generators.training import AVERAGE

# Streams of an image's noise in training, and in sampling: the start, and step t at 1 + t.
_NOISE, _STEP = 0, 1
_START, _FIRST_STEP = 0, 1

# Longest gradient of an update (the authors' code).
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


class DdpmGenerator(DiffusionGenerator):
    """An unconditional DDPM; its facts hold `scheduler`, the noise schedule, as well."""

    conditional = False

    def __init__(
        self,
        spec: GeneratorSpec,
        weights: Mapping[str, Tensor],
        sha256: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        ours = {"unet": self.unet_config(spec), "scheduler": NoiseSchedule.linear().to_config()}
        super().__init__(spec, weights, sha256, facts or ours)
        self._schedule = NoiseSchedule.from_config(self.facts["scheduler"])

    @classmethod
    def training(cls, fit: Fit, network: nn.Module) -> DdpmTraining:
        """Return the training of the network."""
        return DdpmTraining(fit, network)

    @classmethod
    def adopt(cls, fit: Fit, folder: Path) -> Self:
        """Take over the weights of another generator here, or of a folder of `diffusers`."""
        if (folder / GENERATOR).is_file():
            return super().adopt(fit, folder)
        network, unet = load_unet(folder)
        height, width, channels = fit.spec.image_shape
        size = unet["sample_size"]
        sizes = [size, size] if isinstance(size, int) else list(size)
        theirs = (*sizes, unet["in_channels"], unet["out_channels"], unet["num_class_embeds"])
        if theirs != (height, width, channels, channels, None):
            raise UserError(
                f"the network of {folder} is for images of {sizes[0]}×{sizes[1]} with "
                f"{unet['in_channels']} channels in, {unet['out_channels']} out and "
                f"{unet['num_class_embeds']} classes, expected {height}×{width}, {channels}, "
                f"{channels} and None"
            )
        weights = {f"{AVERAGE}{name}": value for name, value in network.state_dict().items()}
        return cls(fit.spec, weights, None, {"unet": unet, "scheduler": _scheduler(folder)})

    def draw(self, ids: Tensor, classes: Tensor | None, seed: int) -> Tensor:
        """Return the images by the sampler of the settings."""
        settings, schedule, network = self.spec.settings, self._schedule, self.network

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
    """Return the noise schedule of a pipeline's folder; that of Ho et al. where none is named."""
    for place in (folder / "scheduler", folder, folder.parent / "scheduler"):
        path = place / "scheduler_config.json"
        if path.is_file():
            return NoiseSchedule.from_config(read_json(path, "diffusers")).to_config()
    return NoiseSchedule.linear().to_config()

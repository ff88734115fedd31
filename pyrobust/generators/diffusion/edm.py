"""EDM (Karras et al. 2022): the U-Net of DDPM under another design of training and sampling."""

from torch import Tensor, nn

from pyrobust import ops
from pyrobust.generators.base import Fit
from pyrobust.generators.diffusion.generator import DiffusionGenerator
from pyrobust.generators.diffusion.karras import (
    Denoise,
    heun,
    loss_weight,
    preconditioned,
    training_sigmas,
)
from pyrobust.generators.diffusion.training import DiffusionTraining
from pyrobust.generators.trained import to_uint8

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

"""The common part of DDPM and EDM: the training step, and the U-Net of the settings.

A model adds its noise levels and loss (`losses`) and its sampler (`draw`).
"""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from pyrobust.generators.base import Fit, GeneratorSpec
from pyrobust.generators.diffusion.unet import DESIGNS, UnetConfig, build_unet, unet_config
from pyrobust.generators.network_training import NetworkTraining
from pyrobust.generators.trained import TrainedGenerator
from pyrobust.training.adam import AdamUpdate


class DiffusionTraining(NetworkTraining):
    """Trains a network to denoise images.

    Args:
        max_norm: maximum gradient norm; None for no clipping.
    """

    def __init__(self, fit: Fit, network: nn.Module, max_norm: float | None) -> None:
        super().__init__(fit, network)
        self.network = network.train()
        self._adam = AdamUpdate(network, fit.processes)
        self._max_norm = max_norm
        self.parts["adam"] = self._adam

    @abstractmethod
    def losses(self, images: Tensor, labels: Tensor, positions: Tensor, step: int) -> Tensor:
        """Return the loss of each image, (B,) float32.

        Args:
            images: (B, C, H, W) in [-1, 1].
            labels: (B,) int64.
            positions: (B,) of the images in the whole batch.
        """

    def learning_rate(self, step: int) -> float:
        """Return the learning rate: linear warm-up over `warmup_steps`, then constant."""
        share = min(1.0, (step + 1) / max(1, self.settings.warmup_steps))
        return share * self.settings.learning_rate

    def update(self, step: int) -> Tensor:
        """Make update `step` and return the mean loss."""
        batch = self.loader.batch(step)
        loss = self.losses(2 * batch.x - 1, batch.labels, batch.positions, step).mean()
        torch.autograd.backward(loss)
        metrics = loss.detach()[None]
        self.processes.average_([metrics])
        self._adam.step(loss, self.learning_rate(step), self._max_norm)
        return metrics


class DiffusionGenerator(TrainedGenerator):
    """A diffusion model; its facts contain `unet`, the configuration of the network.

    The configuration is that of the preset, or that of pretrained weights.
    """

    @classmethod
    def network_facts(cls, spec: GeneratorSpec) -> dict[str, Any]:
        """Return the configuration of the U-Net."""
        return {"unet": cls.unet_config(spec)}

    @classmethod
    def unet_config(cls, spec: GeneratorSpec) -> UnetConfig:
        """Return the configuration of the network of the settings."""
        settings = spec.settings
        num_classes = len(spec.class_names) if settings.conditional else None
        return unet_config(
            DESIGNS[settings.preset], spec.image_shape, settings.dropout, num_classes
        )

    @classmethod
    def build_network(cls, spec: GeneratorSpec) -> nn.Module:
        """Return the network of the preset."""
        return build_unet(cls.unet_config(spec))

    def make_network(self) -> nn.Module:
        """Return the network of the facts."""
        return build_unet(self.facts["unet"])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        height, width, channels = self.spec.image_shape
        return channels, height, width

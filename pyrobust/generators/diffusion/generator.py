"""What DDPM and EDM have in common: the U-Net, built anew from its configuration."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from pyrobust.generators.base import GeneratorSpec
from pyrobust.generators.diffusion.unet import DESIGNS, UnetConfig, build_unet, unet_config
from pyrobust.generators.trained import TrainedGenerator


class DiffusionGenerator(TrainedGenerator):
    """A diffusion model; its facts hold `unet`, the configuration of the network.

    It is the one of the preset unless the weights were published by others.
    """

    def __init__(
        self,
        spec: GeneratorSpec,
        weights: Mapping[str, Tensor],
        sha256: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(spec, weights, sha256, facts or {"unet": self.unet_config(spec)})

    @classmethod
    def unet_config(cls, spec: GeneratorSpec) -> UnetConfig:
        """Return the configuration of the network that the settings ask for."""
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

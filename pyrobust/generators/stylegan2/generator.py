"""StyleGAN2-ADA as a generator."""

from typing import cast

import torch
from torch import Tensor, nn

from pyrobust import ops
from pyrobust.generators.base import Fit, GeneratorSpec
from pyrobust.generators.sizes import square_side
from pyrobust.generators.stylegan2.discriminator import DiscriminatorNetwork
from pyrobust.generators.stylegan2.synthesis import GeneratorNetwork
from pyrobust.generators.stylegan2.training import StyleGan2Training
from pyrobust.generators.trained import TrainedGenerator, to_uint8
from pyrobust.generators.training import NetworkTraining

# Layers of the mapping network and images that share a minibatch deviation, for CIFAR.
_MAPPING_LAYERS = 2
_GROUP_SIZE = 32


class StyleGan2Generator(TrainedGenerator):
    """Class-conditional samples without truncation, each with noise of its own."""

    conditional = True

    @classmethod
    def build_network(cls, spec: GeneratorSpec) -> nn.Module:
        """Return the generator network."""
        settings = spec.settings
        return GeneratorNetwork(
            square_side(spec.image_shape),
            spec.image_shape[2],
            len(spec.class_names),
            settings.latent_size,
            settings.width,
            _MAPPING_LAYERS,
        )

    @classmethod
    def training(cls, fit: Fit, network: nn.Module) -> NetworkTraining:
        """Return the training against a discriminator of the same width."""
        spec, device = fit.spec, fit.processes.device
        height, _, channels = spec.image_shape
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.settings.seed)
            discriminator = DiscriminatorNetwork(
                height, channels, len(spec.class_names), spec.settings.width, _GROUP_SIZE
            )
        return StyleGan2Training(fit, cast(GeneratorNetwork, network), discriminator.to(device))

    def draw(self, ids: Tensor, classes: Tensor | None, seed: int) -> Tensor:
        """Return images (N, C, H, W) uint8 of the classes."""
        network = cast(GeneratorNetwork, self.network)
        return to_uint8(network(ops.normal(ids, (network.num_normals,), seed), classes))

"""BigGAN as a generator."""

from typing import cast

from torch import Tensor, nn

from pyrobust import ops
from pyrobust.generators.base import Fit, GeneratorSpec
from pyrobust.generators.biggan.networks import DiscriminatorNetwork, GeneratorNetwork
from pyrobust.generators.biggan.training import BigGanTraining
from pyrobust.generators.sizes import square_side
from pyrobust.generators.trained import TrainedGenerator, to_uint8
from pyrobust.generators.training import NetworkTraining


class BigGanGenerator(TrainedGenerator):
    """Class-conditional samples without truncation of the latents."""

    conditional = True

    @classmethod
    def build_network(cls, spec: GeneratorSpec) -> nn.Module:
        """Return the generator network, without spectral norm."""
        settings = spec.settings
        return GeneratorNetwork(
            square_side(spec.image_shape),
            spec.image_shape[2],
            len(spec.class_names),
            settings.latent_size,
            settings.width,
        )

    @classmethod
    def training(cls, fit: Fit, network: nn.Module) -> NetworkTraining:
        """Return the training against a discriminator of the same width."""
        spec = fit.spec
        height, _, channels = spec.image_shape
        discriminator = DiscriminatorNetwork(
            height, channels, len(spec.class_names), spec.settings.width
        )
        return BigGanTraining(fit, cast(GeneratorNetwork, network), discriminator)

    def draw(self, ids: Tensor, classes: Tensor | None, seed: int) -> Tensor:
        """Return images (N, C, H, W) uint8 of the classes."""
        network = cast(GeneratorNetwork, self.network)
        return to_uint8(network(ops.normal(ids, (network.latent_size,), seed), classes))

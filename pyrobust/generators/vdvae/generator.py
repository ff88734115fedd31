"""The VDVAE as a generator: prior samples, decoded, drawn from the mixture and truncated."""

from typing import cast

import torch
from torch import Tensor, nn

from pyrobust import ops
from pyrobust.generators.base import Fit, GeneratorSpec
from pyrobust.generators.sizes import square_side
from pyrobust.generators.trained import TrainedGenerator
from pyrobust.generators.training import NetworkTraining
from pyrobust.generators.vdvae.mixture import count_uniforms, draw
from pyrobust.generators.vdvae.network import Vdvae
from pyrobust.generators.vdvae.training import VdvaeTraining

# Resolutions up to this one start from a learned constant.
_NO_BIAS_ABOVE = 64

# Width of the inner convolutions as a share of the network's.
_BOTTLENECK = 0.25


class VdvaeGenerator(TrainedGenerator):
    """Unconditional samples at temperature 1."""

    conditional = False

    @classmethod
    def build_network(cls, spec: GeneratorSpec) -> nn.Module:
        """Return the ladder that the settings describe."""
        settings = spec.settings
        return Vdvae(
            square_side(spec.image_shape),
            spec.image_shape[2],
            settings.width,
            _BOTTLENECK,
            settings.latent_size,
            settings.mixtures,
            _NO_BIAS_ABOVE,
            settings.encoder_blocks,
            settings.decoder_blocks,
        )

    @classmethod
    def training(cls, fit: Fit, network: nn.Module) -> NetworkTraining:
        """Return the training by the evidence lower bound."""
        network = cast(Vdvae, network)
        network.normalize_by(fit.dataset.mean, fit.dataset.std)
        return VdvaeTraining(fit, network)

    def draw(self, ids: Tensor, classes: Tensor | None, seed: int) -> Tensor:
        """Return images (N, C, H, W) uint8; as in the paper's numbers, shades are cut off."""
        network = cast(Vdvae, self.network)
        parameters, _ = network.decoder(ops.normal(ids, (network.num_latents,), seed))
        shape = (count_uniforms(network.channels, network.mixtures), *parameters.shape[2:])
        uniforms = ops.uniform(ids, shape, seed, stream=1)
        drawn = draw(parameters.float(), uniforms, network.channels)
        return ((drawn + 1) * 127.5).to(torch.uint8)

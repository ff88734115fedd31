"""The common part of BigGAN and StyleGAN2: two networks, and samples in one pass."""

from typing import ClassVar, cast

from torch import Tensor, nn

from pyrobust import ops
from pyrobust.generators.base import GeneratorSpec
from pyrobust.generators.trained import TrainedGenerator, square_side, to_uint8


class GanGenerator(TrainedGenerator):
    """Class-conditional samples without truncation.

    Attributes:
        generator_network: constructed from side, channels and number of classes of the images,
            latent_size and width; maps `num_normals` normal numbers and a class to an image.
        discriminator_network: constructed from side, channels, number of classes and width; maps an
            image and a class to a score.
    """

    generator_network: ClassVar[type[nn.Module]]
    discriminator_network: ClassVar[type[nn.Module]]

    @classmethod
    def build_network(cls, spec: GeneratorSpec) -> nn.Module:
        """Return the generator network."""
        settings = spec.settings
        return cls.generator_network(*_of_images(spec), settings.latent_size, settings.width)

    @classmethod
    def build_discriminator(cls, spec: GeneratorSpec) -> nn.Module:
        """Return the discriminator network."""
        return cls.discriminator_network(*_of_images(spec), spec.settings.width)

    def draw(self, ids: Tensor, classes: Tensor | None, seed: int) -> Tensor:
        """Return images (N, C, H, W) uint8 of the classes."""
        num_normals = cast(int, self.network.num_normals)
        return to_uint8(self.network(ops.normal(ids, (num_normals,), seed), classes))


def _of_images(spec: GeneratorSpec) -> tuple[int, int, int]:
    """Return side, channels and number of classes.

    Raises:
        UserError: the side is not a power of two from 8 on.
    """
    return square_side(spec.image_shape), spec.image_shape[2], len(spec.class_names)

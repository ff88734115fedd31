"""Network passes of one shape, so that an image's result does not depend on its company."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from pyrobust.attacks import LogitsFn


def fixed_passes(logits_fn: LogitsFn, pass_size: int) -> LogitsFn:
    """Return the same function, computed in passes of exactly `pass_size` images.

    Libraries choose their kernels by the shape of a batch, and another kernel adds up in another
    order: on the CPU the logits and gradients of an image differ in their last bits between
    batches of 3, 5 or 64 images, and over a hundred steps of an attack such bits grow. In passes
    of one shape they depend neither on the other images nor on the place in the batch. The last
    pass is filled up with copies of the first image, which receive no gradient. The strides of a
    pass are always those of a new tensor: they choose kernels too, and images of one channel, put
    together, may come out in another order of dimensions.
    """

    def logits(x: Tensor) -> Tensor:
        filling = x[:1].detach().expand(-len(x) % pass_size, *x.shape[1:])
        passes = torch.cat([x.flatten(1), filling.flatten(1)]).view(-1, pass_size, *x.shape[1:])
        return torch.cat([logits_fn(images) for images in passes])[: len(x)]

    return logits


@contextmanager
def exact_kernels() -> Iterator[None]:
    """Let cuDNN compute in IEEE float32, by kernels that repeat their results, for the block.

    By default it rounds the factors of convolutions to 10 bits (TF32) on recent GPUs.
    """
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        yield

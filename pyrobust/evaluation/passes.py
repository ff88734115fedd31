"""Network passes of one shape, so that an image's result does not depend on its company."""

import torch
from torch import Tensor

from pyrobust.attacks import LogitsFn


def fixed_passes(logits_fn: LogitsFn, pass_size: int) -> LogitsFn:
    """Return the same function, computed in passes of exactly `pass_size` images.

    Libraries choose their kernels by the shape of a batch, and another kernel adds up in another
    order: on the CPU the logits and gradients of an image differ in their last bits between
    batches of 3, 5 or 64 images, and over a hundred steps of an attack such bits grow. In passes
    of one shape they depend neither on the other images nor on the place in the batch. The last
    pass is filled up with copies of the first image, which receive no gradient.
    """

    def logits(x: Tensor) -> Tensor:
        missing = -len(x) % pass_size
        filling = x[:1].detach().expand(missing, *x.shape[1:])
        passes = torch.split(torch.cat([x, filling]), pass_size)
        return torch.cat([logits_fn(images) for images in passes])[: len(x)]

    return logits

"""Network passes of one shape, so that an image's result does not depend on its company."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# x (N, C, H, W) in [0, 1] -> logits (N, K)
LogitsFn = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class FixedPasses:
    """A logits function that is computed in passes of exactly `pass_size` images.

    Libraries choose their kernels by the shape of a batch, and another kernel adds up in another
    order: on the CPU the logits and gradients of an image differ in their last bits between
    batches of 3, 5 or 64 images, and over a hundred steps of an attack such bits grow. In passes
    of one shape they depend neither on the other images nor on the place in the batch.
    """

    logits_fn: LogitsFn
    pass_size: int

    def __call__(self, x: Tensor) -> Tensor:
        """Return the logits (N, K) of x (N, C, H, W)."""
        return torch.cat([self.logits_fn(images) for images in self.split(x)])[: len(x)]

    def split(self, values: Tensor) -> Tensor:
        """Return values (N, ...) by passes, (passes, pass_size, ...).

        The last pass is filled up with copies of the first entry. The strides are those of a new
        tensor: they choose kernels too, and those of images with one channel are ambiguous.
        """
        count, missing = len(values), -len(values) % self.pass_size
        rows = torch.arange(count + missing, device=values.device)
        rows[count:] = 0
        filled = values.index_select(0, rows)
        return filled.flatten().view(-1, self.pass_size, *values.shape[1:])

"""The memory layout of a network's weights."""

import itertools

import torch
from torch import nn


def to_channels_last(network: nn.Module) -> None:
    """Lay out the weights of 2-D convolutions channels-last, in place.

    `Module.to` also tries this with the weights of 3-D convolutions, and fails.
    """
    for tensor in itertools.chain(network.parameters(), network.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.to(memory_format=torch.channels_last)

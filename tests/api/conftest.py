"""A small network and images that it partly gets right, made in memory."""

import pytest
import torch
from torch import Tensor, nn

Classified = tuple[nn.Module, Tensor, Tensor]


@pytest.fixture(scope="session")
def classified() -> Classified:
    """Return a network, images (24, 1, 8, 8) in [0, 1] and labels, of which 20 are its own."""
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
        images = torch.rand(24, 1, 8, 8, generator=generator)
        # Centred logits, so that every class is the answer for some image.
        network[-1].bias -= network(images).mean(0)
        labels = network(images).argmax(1)
        labels[:4] = (labels[:4] + 1) % 10
    return network, images, labels

"""The exponential moving average of a network's weights (section 4, tau)."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pyrobust import ops


class WeightAverage:
    """A copy of a network whose weights are averages and whose buffers are the live ones.

    Attributes:
        network: the copy, in evaluation mode.
    """

    def __init__(self, live: nn.Module) -> None:
        self.live = live
        self.network = copy.deepcopy(live).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """Move the averages towards the live weights: decay × average + (1 - decay) × weight."""
        ops.ema_update_(list(self.network.parameters()), list(self.live.parameters()), decay)
        for mine, theirs in zip(self.network.buffers(), self.live.buffers(), strict=True):
            mine.copy_(theirs)

    def state(self) -> dict[str, Tensor]:
        """Return the averages."""
        return dict(self.network.state_dict())

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `state` returned."""
        self.network.load_state_dict(dict(tensors))

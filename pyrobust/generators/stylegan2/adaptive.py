"""The probability of augmentation, moved by how much the discriminator overfits (section 3)."""

from collections.abc import Mapping

import torch
from torch import Tensor

# Updates between two moves.
_INTERVAL = 4


class AdaptiveProbability:
    """Moves p so that the mean sign of the scores of real images, r_t, stays near a target.

    r_t is 0 where the discriminator is at a loss and 1 where it knows every training image.

    Args:
        target: of r_t.
        images: real images in which p may go from 0 to 1.

    Attributes:
        p: () float32.
    """

    def __init__(self, target: float, images: int, device: torch.device) -> None:
        self._target, self._images = target, images
        self.p = torch.zeros((), device=device)
        self._signs = torch.zeros((), device=device)

    def update(self, step: int, real_scores: Tensor, batch_size: int) -> None:
        """Take in the scores of update `step`, averaged over the processes.

        Args:
            real_scores: (), the mean sign of the scores of the batch.
            batch_size: real images of an update, all processes together.
        """
        self._signs += real_scores
        if (step + 1) % _INTERVAL:
            return
        direction = torch.sign(self._signs / _INTERVAL - self._target)
        self.p = (self.p + direction * batch_size * _INTERVAL / self._images).clamp(0, 1)
        self._signs = torch.zeros_like(self._signs)

    def state(self) -> dict[str, Tensor]:
        """Return p and the signs since its last move."""
        return {"p": self.p, "signs": self._signs}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `state` returned."""
        self.p, self._signs = (
            tensors[name].to(self.p.device, copy=True) for name in ("p", "signs")
        )

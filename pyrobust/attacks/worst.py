"""The worst points that an attack has found so far."""

import torch
from torch import Tensor


class WorstPoints:
    """For each image its worst point: a misclassified one, else that of the highest loss.

    Args:
        x: (N, C, H, W), the images themselves, about which nothing is known yet.
    """

    def __init__(self, x: Tensor) -> None:
        self.x_adv = x.clone()
        self.loss = x.new_full((len(x),), -torch.inf)
        self.broken = torch.zeros(len(x), dtype=torch.bool, device=x.device)

    def update(self, rows: Tensor, x_adv: Tensor, loss: Tensor, broken: Tensor) -> None:
        """Keep the points of images `rows` that are worse than what is known.

        Args:
            rows: (n,) int64, each once.
            x_adv: (n, C, H, W).
            loss: (n,).
            broken: (n,) bool, which points are misclassified.
        """
        known = self.broken[rows]
        worse = (broken & ~known) | ((broken == known) & (loss > self.loss[rows]))
        better = torch.nonzero(worse)[:, 0]
        rows = rows[better]
        self.x_adv[rows] = x_adv[better]
        self.loss[rows] = loss[better]
        self.broken[rows] = broken[better]

    def standing(self) -> Tensor:
        """Return the rows of the images without a misclassified point, ascending."""
        return torch.nonzero(~self.broken).flatten()

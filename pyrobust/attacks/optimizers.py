"""How a point moves along a gradient inside the perturbation set."""

from typing import Literal, Protocol

import torch
from torch import Tensor

from pyrobust import ops
from pyrobust.attacks.threat import ThreatModel

OptimizerName = Literal["adam", "steepest"]


class Optimizer(Protocol):
    """Moves a batch of points up, step by step."""

    def step(
        self, x_adv: Tensor, x: Tensor, grad: Tensor, step_size: float, threat: ThreatModel
    ) -> Tensor:
        """Return the next points, inside the set around x; `x_adv` may be overwritten."""

    def keep(self, rows: Tensor) -> None:
        """Forget all points but those at `rows`, (n,) int64."""


def make_optimizer(name: OptimizerName, x: Tensor) -> Optimizer:
    """Return a new optimizer for points of the shape of x (N, C, H, W).

    Args:
        name: adam (Kingma and Ba 2015, ascending; its moments never see the projection), or
            steepest: step_size times the gradient's sign for linf, and the gradient scaled to
            length step_size for l2.
    """
    return _Adam(x) if name == "adam" else _Steepest()


class _Adam:
    def __init__(self, x: Tensor) -> None:
        self._exp_avg, self._exp_avg_sq = torch.zeros_like(x), torch.zeros_like(x)
        self._count = 0

    def step(
        self, x_adv: Tensor, x: Tensor, grad: Tensor, step_size: float, threat: ThreatModel
    ) -> Tensor:
        self._count += 1
        update = ops.linf_adam_step_ if threat.norm == "linf" else ops.l2_adam_step_
        moments = (self._exp_avg, self._exp_avg_sq)
        update(x_adv, x, grad, *moments, self._count, step_size, threat.epsilon)
        return x_adv

    def keep(self, rows: Tensor) -> None:
        self._exp_avg, self._exp_avg_sq = self._exp_avg[rows], self._exp_avg_sq[rows]


class _Steepest:
    def step(
        self, x_adv: Tensor, x: Tensor, grad: Tensor, step_size: float, threat: ThreatModel
    ) -> Tensor:
        update = ops.linf_step_ if threat.norm == "linf" else ops.l2_step_
        update(x_adv, x, grad, step_size, threat.epsilon)
        return x_adv

    def keep(self, rows: Tensor) -> None:
        pass

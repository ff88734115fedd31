"""The update of the weights and of their average, over whole lists of tensors in one pass.

Lists hold tensors of one dtype (float32 or float64) and one device. Tensors that are written must
be dense and have the strides of their parameter; gradients may have any, and may be bfloat16
besides float32. On CUDA a list is one launch (each 500 tensors). Call under `torch.no_grad()`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pyrobust.ops.core import core


def averaging_ramp(step: int, tau: float) -> float:
    """Return the decay of the weight average at step t: min(tau, (1 + t) / (10 + t)).

    The ramp lets the average forget the random weights of the start (appendix A).
    """
    return min(tau, (1 + step) / (10 + step))


def sgd_ema_step_(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    momentum_buffers: Sequence[Tensor],
    averages: Sequence[Tensor],
    decayed: Sequence[bool],
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    ema_decay: float,
) -> None:
    """Take one step of SGD with Nesterov momentum, then move the weight averages.

        g = grad + weight_decay * param      (where decayed)
        buffer = momentum * buffer + g
        param -= learning_rate * (g + momentum * buffer)
        average = ema_decay * average + (1 - ema_decay) * param

    This is torch.optim.SGD with dampening 0, whose first step sets the buffer to g: buffers start
    at zero here.

    Args:
        decayed: for each parameter, whether weight decay applies.
    """
    if len(params) == 0 and len(grads) == 0:
        return  # the dispatcher finds the device by the tensors
    core.sgd_ema_step_(
        params,
        grads,
        momentum_buffers,
        averages,
        decayed,
        learning_rate,
        momentum,
        weight_decay,
        ema_decay,
    )


def ema_update_(averages: Sequence[Tensor], values: Sequence[Tensor], decay: float) -> None:
    """Set each average to decay * average + (1 - decay) * value."""
    if len(averages) == 0 and len(values) == 0:
        return
    core.ema_update_(averages, values, decay)


def _fake(first: Sequence[Tensor], *others: object) -> None:
    return None


for _name in ("sgd_ema_step_", "ema_update_"):
    torch.library.register_fake(f"pyrobust::{_name}", _fake)

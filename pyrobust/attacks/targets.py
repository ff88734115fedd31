"""The classes that targeted attacks aim at."""

import torch
from torch import Tensor

from pyrobust.attacks.passes import LogitsFn


def ranked_targets(logits_fn: LogitsFn, x: Tensor, labels: Tensor) -> Tensor:
    """Return the other classes of each image, the largest logit first, (N, K - 1) int64."""
    with torch.no_grad():
        logits = logits_fn(x)
    # Sorted stably, so that equal logits have one order: that of the classes.
    order = logits.argsort(dim=1, descending=True, stable=True)
    others = order != labels[:, None]
    return order[others].view(len(x), -1)

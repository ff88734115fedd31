"""A model as a logits function, in float32 or with bfloat16 passes."""

from collections.abc import Callable

import torch
from torch import Tensor

from pyrobust.models.layers import ImageClassifier

LogitsFn = Callable[[Tensor], Tensor]


def logits_in(precision: str, model: ImageClassifier) -> LogitsFn:
    """Return x (N, C, H, W) in [0, 1] -> logits (N, K) in float32.

    Args:
        precision: float32, or bfloat16 for passes up to the penultimate layer. The last layer,
            the losses, the weights and the gradient of x stay in float32 either way.
    """
    if precision == "float32":
        return model

    def logits(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            features = model.features(x)
        return model.logits(features)  # type: ignore[no-any-return]

    return logits

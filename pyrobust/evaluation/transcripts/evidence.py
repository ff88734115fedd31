"""What a transcript states about each image, and the forward passes that both sides share."""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pyrobust.attacks import LogitsFn
from pyrobust.evaluation.outcomes import judge
from pyrobust.models.files import sha256_of_state
from pyrobust.ops.precision import exact_kernels

# What became of an image.
STANDING, MISCLASSIFIED, BROKEN = range(3)
_DIGEST_BYTES = 16


@dataclass(frozen=True)
class Verdict:
    """How a network classifies N points, on the CPU.

    Attributes:
        correct: (N,), whether the prediction is the label.
        margin: (N,), z_y - max over i ≠ y of z_i; -inf where a logit is not finite.
        scale: (N,), the largest |z_i|; rounding changes a margin in proportion to it.
    """

    correct: NDArray[np.bool_]
    margin: NDArray[np.float32]
    scale: NDArray[np.float32]


def judge_points(logits_fn: LogitsFn, points: Tensor, labels: Tensor) -> Verdict:
    """Return how `logits_fn` classifies points (N, C, H, W), in exact float32."""
    with torch.no_grad(), exact_kernels():
        logits = logits_fn(points)
    prediction, margin = judge(logits, labels)
    scale = torch.nan_to_num(logits, 0.0, 0.0, 0.0).abs().amax(1)
    return Verdict(*(v.cpu().numpy() for v in (prediction == labels, margin, scale)))


def image_digests(x: Tensor, labels: Tensor) -> NDArray[np.uint8]:
    """Return the first 16 bytes of the SHA-256 of each image and its label, (N, 16).

    Args:
        x: (N, C, H, W) float32 in [0, 1].
        labels: (N,) int64.
    """
    pixels = np.ascontiguousarray(x.cpu().numpy(), dtype="<f4").reshape(len(x), -1)
    classes = labels.cpu().numpy().astype("<i8")
    digests = [
        hashlib.sha256(row.tobytes() + label.tobytes()).digest()[:_DIGEST_BYTES]
        for row, label in zip(pixels, classes, strict=True)
    ]
    return np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), _DIGEST_BYTES)


def weights_sha256(logits_fn: LogitsFn) -> str:
    """Return the SHA-256 of the names, shapes and values of all weights and buffers."""
    module = logits_fn if isinstance(logits_fn, nn.Module) else nn.Module()
    return sha256_of_state(module)

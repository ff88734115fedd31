"""Signs, before the attack, that its result will not mean what it says.

After the flags of AutoAttack (Croce and Hein 2020) and the check-lists of Athalye et al. (2018)
and Carlini et al. (2019). A failed check does not stop the evaluation; it stands in its result.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pyrobust import ops
from pyrobust.attacks import LogitsFn
from pyrobust.attacks.gradients import gradient

# Logits that differ by less than this share of the largest one are called equal.
_EQUAL = 1e-5
# Pixels in another range must win by more than this for the range to be called wrong.
_RANGE_GAIN = 0.1


@dataclass(frozen=True)
class Check:
    """What was looked at, whether it is as it should be, and what was seen."""

    name: str
    passed: bool
    seen: str


def check_model(logits_fn: LogitsFn, x: Tensor, labels: Tensor) -> list[Check]:
    """Look at a network through a few images.

    Args:
        x: (N, C, H, W) in [0, 1], at least two of different classes.
        labels: (N,) int64.
    """
    with torch.no_grad():
        logits = logits_fn(x)
        return [
            _finite(logits),
            _equal("deterministic", "twice on the same images", logits, logits_fn(x)),
            _equal(
                "independent_of_batch",
                "with and without other images beside",
                logits[: len(x) // 2],
                logits_fn(x[: len(x) // 2]),
            ),
            _varies(logits),
            _no_probabilities(logits),
            _differentiable(logits_fn, x, labels),
            _input_range(logits_fn, x, labels),
        ]


def _finite(logits: Tensor) -> Check:
    wrong = int((~logits.isfinite()).any(1).sum())
    return Check("finite_logits", wrong == 0, f"{wrong} of {len(logits)} images without")


def _equal(name: str, how: str, one: Tensor, other: Tensor) -> Check:
    """Randomised networks fail the first use, batch norm in training mode the second."""
    difference = float((one - other).abs().max() / one.abs().max().clamp_min(1e-30))
    seen = f"logits computed {how} differ by {difference:.1e} of the largest"
    return Check(name, difference <= _EQUAL, seen)


def _varies(logits: Tensor) -> Check:
    constant = bool((logits == logits[0]).all())
    predictions = len(set(logits.argmax(1).tolist()))
    seen = f"{predictions} classes predicted for {len(logits)} images"
    return Check("depends_on_image", not constant, "the same logits for all" if constant else seen)


def _no_probabilities(logits: Tensor) -> Check:
    """A softmax at the end flattens the loss where the network is sure."""
    sums = logits.sum(1)
    looks_so = bool(((logits >= 0) & (logits <= 1)).all() and (sums - 1).abs().max() < 1e-4)
    seen = f"outputs from {float(logits.min()):.2g} to {float(logits.max()):.2g}"
    return Check("logits_not_probabilities", not looks_so, seen)


def _differentiable(logits_fn: LogitsFn, x: Tensor, labels: Tensor) -> Check:
    """The margin is looked at: cross-entropy may vanish by rounding where a network is sure."""
    grad = gradient(logits_fn, x, ops.margin, labels).grad.flatten(1)
    useless = int((~grad.isfinite().all(1) | (grad == 0).all(1)).sum())
    seen = f"{useless} of {len(x)} images without a gradient"
    return Check("gradients_reach_images", useless == 0, seen)


def _input_range(logits_fn: LogitsFn, x: Tensor, labels: Tensor) -> Check:
    """A network that wants other pixels, or normalises outside, is better on those."""
    mean, std = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True)
    ranges = {
        "in [0, 1]": x,
        "in [0, 255]": 255 * x,
        "standardised": (x - mean) / std.clamp_min(1e-6),
    }
    right = {
        name: int((logits_fn(pixels).argmax(1) == labels).sum()) for name, pixels in ranges.items()
    }
    ours = right["in [0, 1]"]
    passed = max(right.values()) <= ours + _RANGE_GAIN * len(x)
    told = ", ".join(f"{count} with pixels {name}" for name, count in right.items())
    return Check("pixels_in_0_1", passed, f"of {len(x)} images right: {told}")

"""Two lines that enclose an activation between the bounds of its input."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pyrobust.certificates.graph import ActivationName
from pyrobust.certificates.interval import Bounds

# Points between the bounds at which SiLU is compared with a line, and the largest |SiLU''|, which
# limits how far it may leave them in between: (width / 64)^2 / 8 * 0.5.
_POINTS = 64
_CURVATURE = 0.5
# Intercepts are widened by this share of the largest |input|: rounding is far below it.
_ROUNDING = 1e-13


@dataclass(frozen=True)
class Lines:
    """slope * x + intercept below and above an activation, (N, *shape) each."""

    lower_slope: Tensor
    lower_intercept: Tensor
    upper_slope: Tensor
    upper_intercept: Tensor

    @property
    def largest_slope(self) -> Tensor:
        """The larger absolute slope of the two."""
        return torch.maximum(self.lower_slope.abs(), self.upper_slope.abs())

    @property
    def largest_intercept(self) -> Tensor:
        """The larger absolute intercept of the two."""
        return torch.maximum(self.lower_intercept.abs(), self.upper_intercept.abs())


def relax(name: ActivationName, at: Bounds) -> Lines:
    """Return the lines of an activation.

    ReLU: the chord above, and 0 or x below, whichever leaves the smaller area (Zhang et al. 2018).
    SiLU: of the chord's slope and the slopes at the ends and in the middle those whose lines are
    nearest in the middle, each moved until it encloses the function.
    """
    lines = _relu(at) if name == "relu" else _silu(at)
    slack = _ROUNDING * (1 + torch.maximum(at.lower.abs(), at.upper.abs()))
    return Lines(
        lines.lower_slope,
        lines.lower_intercept - slack,
        lines.upper_slope,
        lines.upper_intercept + slack,
    )


def _relu(at: Bounds) -> Lines:
    low, high = at.lower, at.upper
    active, crosses = (low >= 0).to(low.dtype), (low < 0) & (high > 0)
    chord = high / (high - low).clamp_min(torch.finfo(low.dtype).tiny)
    upper_slope = torch.where(crosses, chord, active)
    upper_intercept = torch.where(crosses, -chord * low, 0.0)
    lower_slope = torch.where(crosses, (high > -low).to(low.dtype), active)
    return Lines(lower_slope, torch.zeros_like(low), upper_slope, upper_intercept)


def _silu(at: Bounds) -> Lines:
    low, high = at.lower, at.upper
    width = high - low
    middle = low + width / 2
    f_low, f_high = F.silu(low), F.silu(high)
    narrow = width < 1e-6
    chord = (f_high - f_low) / torch.where(narrow, 1.0, width)
    slopes = [torch.where(narrow, _slope(middle), chord), *map(_slope, (low, middle, high))]
    # SiLU(x) - slope x, at both ends and between; its extremes over all x are those plus slack.
    slack = (width / _POINTS).square() * (_CURVATURE / 8)
    below = [torch.full_like(low, torch.inf) for _ in slopes]
    above = [torch.full_like(low, -torch.inf) for _ in slopes]
    for i in range(_POINTS + 1):
        x = high if i == _POINTS else low + width * (i / _POINTS)
        value = F.silu(x)
        for k, slope in enumerate(slopes):
            gap = value - slope * x
            below[k], above[k] = torch.minimum(below[k], gap), torch.maximum(above[k], gap)
    lower = _nearest([(s, b - slack) for s, b in zip(slopes, below, strict=True)], middle, 1)
    upper = _nearest([(s, a + slack) for s, a in zip(slopes, above, strict=True)], middle, -1)
    return Lines(*lower, *upper)


def _slope(x: Tensor) -> Tensor:
    """Return SiLU'(x)."""
    share = torch.sigmoid(x)
    return share * (1 + x * (1 - share))


def _nearest(
    lines: list[tuple[Tensor, Tensor]], middle: Tensor, sign: int
) -> tuple[Tensor, Tensor]:
    """Return for each element the line that is highest (sign 1) or lowest (-1) in the middle."""
    slope, intercept = lines[0]
    for other_slope, other_intercept in lines[1:]:
        gain = sign * ((other_slope * middle + other_intercept) - (slope * middle + intercept))
        slope = torch.where(gain > 0, other_slope, slope)
        intercept = torch.where(gain > 0, other_intercept, intercept)
    return slope, intercept

"""Nearest points of hyperplanes within [0, 1], for one row after another."""

import torch
from torch import Tensor

from pyrobust.config.fields import Norm

# Newton's steps rise to the solution and reach it once they are on its linear piece.
_MOST_STEPS = 64
# What rounding leaves open, relative to the distance to cover.
_ACCEPTED = 1e-6
# Values are rounded to multiples of 1 over this before they are summed.
_PER_UNIT = 2.0**34


def exact_sums(values: Tensor) -> Tensor:
    """Return the sums (...) of values (..., D) over the last dimension.

    The sum of a row does not depend on the order of its terms, so that neither the other rows, nor
    the device, nor the number of threads change its bits: terms are rounded to multiples of
    2^-34, whose sums are exact in float64 below 2^19.
    """
    return (_in_units(values).sum(-1, dtype=torch.float64) / _PER_UNIT).to(values)


def to_hyperplane(points: Tensor, normal: Tensor, residual: Tensor, norm: Norm) -> Tensor:
    """Return the shortest moves onto hyperplanes, (n, D), such that points stay in [0, 1].

    Where a hyperplane does not meet [0, 1]^D, the move is the one that comes closest to it
    (Croce and Hein 2020, Section 3.1).

    Args:
        points: t, (n, D) in [0, 1].
        normal: w, (n, D) in [-1, 1].
        residual: <w, t> - b, (n,); the move d solves <w, d> = -residual.
        norm: by which a move is short.
    """
    weights, goal = normal.abs(), residual.abs()
    direction = -normal.sign() * residual.sign()[:, None]
    room = torch.where(direction > 0, 1 - points, points)
    if norm == "l1":
        return direction * _fill_largest(weights, room, goal)
    return direction * _fill_evenly(weights, room, goal, norm)


def _fill_evenly(weights: Tensor, room: Tensor, goal: Tensor, norm: Norm) -> Tensor:
    """Return min(level * speed, room) (n, D) for the level at which weights times it sum to goal.

    The speed of an element is 1 for linf, and its weight for l2. The sum is concave in the level.
    """
    speed = (weights > 0).to(weights) if norm == "linf" else weights
    gain = weights * speed
    slope = exact_sums(gain)
    to_go = (goal > 0) & (slope > 0)
    level = torch.where(to_go, goal / slope, 0.0)
    for _ in range(_MOST_STEPS):
        lengths = torch.minimum(level[:, None] * speed, room)
        missing = goal - exact_sums(weights * lengths)
        slope = exact_sums(gain * (lengths < room))
        to_go = to_go & (missing > _ACCEPTED * goal) & (slope > 0)
        if not to_go.any():
            break
        level = torch.where(to_go, level + missing / slope, level)
    return lengths


def _fill_largest(weights: Tensor, room: Tensor, goal: Tensor) -> Tensor:
    """Return all room (n, D) of the largest weights, as many as the goal needs, and 0 elsewhere.

    The last ones, of equal weight, share what is left of the goal.
    """
    gain = weights * room
    order = weights.argsort(dim=1, descending=True)
    reached = _in_units(gain.gather(1, order)).cumsum(1, dtype=torch.float64)
    last = (reached < _PER_UNIT * goal.double()[:, None]).sum(1, keepdim=True)
    smallest = weights.gather(1, order.gather(1, last.clamp_max(weights.shape[1] - 1)))
    smallest = torch.where(last < weights.shape[1], smallest, 0.0)
    above, equal = weights > smallest, (weights == smallest) & (weights > 0)
    left = goal - exact_sums(gain * above)
    share = torch.nan_to_num(left / exact_sums(gain * equal), 0.0).clamp(0, 1)
    return room * above + room * equal * share[:, None]


def _in_units(values: Tensor) -> Tensor:
    return (values * _PER_UNIT).round_()

"""Moves of Square in l2 and l1: a window passes its perturbation on to another one.

Andriushchenko et al. 2020, Algorithm 3 and Section 4.4; l1 as in AutoAttack.
"""

from functools import cache

import torch
from torch import Tensor

from pyrobust import ops
from pyrobust.attacks.hyperplane import exact_sums
from pyrobust.attacks.square_corners import place
from pyrobust.attacks.threat_model import ThreatModel
from pyrobust.config.fields import Norm

_TINY = 1e-12
# The start is a grid of this many windows a side.
_GRID = 5


def start_windows(x: Tensor, sample_ids: Tensor, threat: ThreatModel, seed: int) -> Tensor:
    """Return x (N, C, H, W) with a grid of patterns of random orientation and sign."""
    count, channels, height, width = x.shape
    side = max(min(height, width) // _GRID, 1)
    down, across = height // side, width // side
    draws = ops.uniform(sample_ids, (down, across, 1 + channels), seed) < 0.5
    tiles = _pattern(draws[..., :1], draws[..., 1:], side, threat.norm)
    # (N, down, across, C, side, side) -> (N, C, down * side, across * side)
    grid = tiles.permute(0, 3, 1, 4, 2, 5).reshape(count, channels, down * side, across * side)
    top, left = (height - down * side) // 2, (width - across * side) // 2
    delta = torch.zeros_like(x, memory_format=torch.contiguous_format)
    delta[:, :, top : top + down * side, left : left + across * side] = grid
    return _of_full_norm(x, delta, threat)


def move_windows(x: Tensor, best: Tensor, draws: Tensor, side: int, threat: ThreatModel) -> Tensor:
    """Return the points after one move of each image, (n, C, H, W).

    The perturbation in one window becomes 0. That in another one is mixed with the pattern, and
    takes over the norm of both and what is left of epsilon.

    Args:
        x, best: (n, C, H, W), the images and their present points.
        draws: (n, 5 + C), uniform in [0, 1): the places of both windows, the orientation of the
            pattern and its signs.
    """
    _, channels, height, width = x.shape
    places = height - side + 1, width - side + 1
    top, left, other_top, other_left = (place(draws[:, i], places[i % 2]) for i in range(4))
    first, other = _cells(top, left, side, width), _cells(other_top, other_left, side, width)
    to, source = (cells[:, None].expand(-1, channels, -1) for cells in (first, other))
    delta = (best - x).flatten(2)
    total = _size(delta.flatten(1), threat.norm)[:, None, None]
    old = delta.gather(2, to)
    old_size = _size(old, threat.norm)[..., None]
    # Where the windows overlap, the perturbation counts once.
    down, across = other // width - top[:, None], other % width - left[:, None]
    alone = (down < 0) | (down >= side) | (across < 0) | (across >= side)
    other_size = _size(delta.gather(2, source) * alone[:, None], threat.norm)[..., None]
    signs = draws[:, 4:] < 0.5
    pattern = _pattern(signs[:, :1], signs[:, 1:], side, threat.norm).flatten(2)
    mixed = pattern + old / (_TINY + old_size)
    if threat.norm == "l2":
        left_over = (threat.epsilon**2 - total.square()).clamp_min(0)
        available = (left_over / channels + old_size.square() + other_size.square()).sqrt()
    else:
        left_over = (threat.epsilon - total).clamp_min(0)
        available = left_over + channels * (old_size + other_size)
    new = mixed / (_TINY + _size(mixed, threat.norm)[..., None]) * available
    moved = delta.scatter(2, source, 0.0).scatter(2, to, new)
    return _of_full_norm(x, moved.view(x.shape), threat)


def _cells(top: Tensor, left: Tensor, side: int, width: int) -> Tensor:
    """Return the pixels of windows, (n, side²) int64, each as row * width + column."""
    offset = torch.arange(side, device=top.device)
    rows, columns = top[:, None] + offset, left[:, None] + offset
    return (rows[:, :, None] * width + columns[:, None, :]).flatten(1)


def _of_full_norm(x: Tensor, delta: Tensor, threat: ThreatModel) -> Tensor:
    """Return the points in the direction delta: of norm epsilon for l2, projected for l1."""
    if threat.norm == "l1":
        points = x + delta
        ops.l1_project_(points, x, threat.epsilon)
        return points
    points = x.clone()
    ops.l2_step_(points, x, delta, threat.epsilon, threat.epsilon)
    return points


def _size(values: Tensor, norm: Norm) -> Tensor:
    """Return the norms (...) of values (..., D)."""
    return exact_sums(values.abs()) if norm == "l1" else exact_sums(values.square()).sqrt()


def _pattern(turned: Tensor, negative: Tensor, side: int, norm: Norm) -> Tensor:
    """Return patterns of norm 1 (..., C, side, side).

    Args:
        turned: (..., 1) bool, whether the halves lie side by side.
        negative: (..., C) bool.
    """
    upright = _halves(side, norm, turned.device)
    patterns = torch.where(turned[..., None, None], upright.t(), upright)
    return torch.where(negative[..., None, None], -patterns, patterns)


@cache
def _halves(side: int, norm: Norm, device: torch.device) -> Tensor:
    """Return the pattern (side, side): two bumps of opposite sign, one above the other."""
    half = side // 2
    both = torch.cat([_bump(half, side, norm), -_bump(side - half, side, norm)])
    return _of_norm_one(both, norm).float().to(device)


def _bump(height: int, width: int, norm: Norm) -> Tensor:
    """Return a bump of norm 1: at distance m from the centre the sum of 1 / k^p from m + 1 on.

    p is 2 for l2, and 4 for l1. Distances are those of the larger coordinate.
    """
    if height == 0:
        return torch.zeros(0, width, dtype=torch.float64)
    distance = torch.maximum(
        (torch.arange(height) - height // 2).abs()[:, None],
        (torch.arange(width) - width // 2).abs(),
    )
    most = max(height // 2, width // 2) + 1
    terms = torch.arange(1, most + 1, dtype=torch.float64) ** (-4 if norm == "l1" else -2)
    bump = terms.flip(0).cumsum(0).flip(0)[distance]
    return _of_norm_one(bump, norm)


def _of_norm_one(pattern: Tensor, norm: Norm) -> Tensor:
    size: Tensor = torch.linalg.vector_norm(pattern, 1 if norm == "l1" else 2)
    return pattern / size

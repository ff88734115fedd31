"""Interval bound propagation (Gowal et al. 2018; Mirman et al. 2018)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pyrobust.certificates.graph import Activation, Affine, Graph, Sum, gamma

# SiLU falls up to here, and rises from here; its value there, rounded down.
SILU_TURN = -1.2784645427610738
SILU_LOWEST = -0.27846454276107385

# Relative error of an activation's value, in float64: a few units in the last place.
_ACTIVATION_ERROR = 2.0**-48


@dataclass(frozen=True)
class Bounds:
    """Lower and upper bounds of a node, (N, *shape) each."""

    lower: Tensor
    upper: Tensor


def affine_bounds(step: Affine, at: Bounds) -> Bounds:
    """Return the bounds of an affine map, widened by its rounding where they are float64."""
    centre, radius = (at.upper + at.lower) / 2, (at.upper - at.lower) / 2
    middle, reach = step(centre), step.magnitude(radius)
    if centre.dtype == torch.float64:
        size = step.magnitude(centre.abs() + radius)
        if step.bias is not None:
            size = size + step.bias.abs()
        reach = reach + gamma(step.terms + 8) * size
    return Bounds(middle - reach, middle + reach)


def activation_bounds(step: Activation, at: Bounds) -> Bounds:
    """Return the bounds of an activation: ReLU rises, SiLU falls and then rises."""
    low, high = step(at.lower), step(at.upper)
    if step.name == "relu":
        return Bounds(low, high)
    turns = (at.lower < SILU_TURN) & (at.upper > SILU_TURN)
    lower = torch.where(turns, SILU_LOWEST, torch.minimum(low, high))
    upper = torch.maximum(low, high)
    slack = _ACTIVATION_ERROR * torch.maximum(at.lower.abs(), at.upper.abs())
    return Bounds(lower - slack, upper + slack)


def step_bounds(step: Affine | Activation | Sum, given: list[Bounds]) -> Bounds:
    """Return the bounds of one step from those of its inputs."""
    if isinstance(step, Affine):
        return affine_bounds(step, given[0])
    if isinstance(step, Activation):
        return activation_bounds(step, given[0])
    lower, upper = given[0].lower + given[1].lower, given[0].upper + given[1].upper
    if lower.dtype == torch.float64:
        lower, upper = lower - gamma(2) * lower.abs(), upper + gamma(2) * upper.abs()
    return Bounds(lower, upper)


def interval_bounds(graph: Graph, image: Bounds) -> Bounds:
    """Return bounds of the logits (N, K) over all images between two.

    They are differentiable. In float64 they hold in real arithmetic; in other types, which serve
    training, up to rounding.

    Args:
        image: lower and upper pixels, (N, C, H, W).
    """
    bounds: list[Bounds] = []
    for node in graph.nodes:
        given = [image if place < 0 else bounds[place] for place in node.inputs]
        bounds.append(step_bounds(node.step, given))
    return bounds[-1]

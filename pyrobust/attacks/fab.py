"""Targeted FAB: walks along the decision boundary to the point of it nearest to the image.

Croce and Hein 2020, "Minimally distorted adversarial examples with a fast adaptive boundary
attack", Algorithm 1, without random restarts: nothing is drawn.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pyrobust.attacks.hyperplane import exact_sums, to_hyperplane
from pyrobust.attacks.multitargeted import ranked_targets
from pyrobust.attacks.network_passes import Gradient, LogitsFn, gradient, loss_fn
from pyrobust.attacks.threat_model import ThreatModel, WorstPoints, is_broken
from pyrobust.config.fields import Norm

# The least length of a move, where two are weighed against each other.
_SHORTEST = 1e-8

# As in AutoAttack: the most that a step is drawn to the image, how far it goes beyond the
# linearised boundary (eta), and to which share of its distance a misclassified point is brought
# back (beta).
_LARGEST_ALPHA, _OVERSHOOT, _BACKWARD = 0.1, 1.05, 0.9


@dataclass(frozen=True)
class FabSettings:
    """Number of steps and targets.

    Args:
        num_targets: targets with the largest clean logits that are tried.
    """

    threat: ThreatModel
    num_steps: int = 100
    num_targets: int = 9


def fab(logits_fn: LogitsFn, x: Tensor, labels: Tensor, settings: FabSettings) -> Tensor:
    """Return the first misclassified point in the ball for each image, else the image itself.

    Args:
        x: (N, C, H, W) in [0, 1].
        labels: (N,) int64.
    """
    worst = WorstPoints(x)
    targets = ranked_targets(logits_fn, x, labels)
    for rank in range(min(settings.num_targets, targets.shape[1])):
        rows = worst.standing()
        if not len(rows):
            break
        _walk(logits_fn, x[rows], (labels[rows], targets[rows, rank]), settings, rows, worst)
    return worst.x_adv


def _walk(
    logits_fn: LogitsFn,
    x: Tensor,
    goals: tuple[Tensor, ...],
    settings: FabSettings,
    rows: Tensor,
    worst: WorstPoints,
) -> None:
    """Walk from x (n, C, H, W), and record the misclassified points in the ball in `worst`.

    Args:
        goals: labels (n,), and targets (n,).
        rows: (n,), indices of the images in `worst`.
    """
    threat, loss = settings.threat, loss_fn("targeted_margin")
    point = x
    for _ in range(settings.num_steps):
        here = gradient(logits_fn, point, loss, *goals)
        point = _step(point, x, here, settings)
        with torch.no_grad():
            broken = is_broken(logits_fn(point), goals[0])
        if not broken.any():
            continue
        found = broken & threat.contains(point, x)
        if found.any():
            fell, keep = torch.nonzero(found)[:, 0], torch.nonzero(~found)[:, 0]
            worst.update(rows[fell], point[fell], here.loss[fell], found[fell])
            if not len(keep):
                return
            point, x, rows, broken = point[keep], x[keep], rows[keep], broken[keep]
            goals = tuple(goal[keep] for goal in goals)
        back = x + _BACKWARD * (point - x)
        point = torch.where(broken[:, None, None, None], back, point)


def _step(point: Tensor, x: Tensor, here: Gradient, settings: FabSettings) -> Tensor:
    """Return the next points: beyond the linearised boundary, and drawn to the image (Eq. 9)."""
    at, image = point.flatten(1), x.flatten(1)
    normal = torch.nan_to_num(here.grad.flatten(1), 0.0, 0.0, 0.0)
    largest = normal.abs().amax(1)
    scale = torch.where(largest > 0, largest, 1.0)
    normal = normal / scale[:, None]
    # Finite even where the gradient is next to none: infinity times a weight of 0 is NaN.
    residual = torch.nan_to_num(torch.nan_to_num(here.loss, 0.0, 0.0, 0.0) / scale)
    of_image = residual + exact_sums(normal * (image - at))
    # Both projections at once.
    points, residuals = torch.cat([at, image]), torch.cat([residual, of_image])
    moves = to_hyperplane(points, normal.repeat(2, 1), residuals, settings.threat.norm)
    lengths = _lengths(moves, settings.threat.norm).clamp_min(_SHORTEST)
    (move, from_image), (short, long) = moves.chunk(2), lengths.chunk(2)
    alpha = (short / (short + long)).clamp_max(_LARGEST_ALPHA)[:, None]
    ahead = at + _OVERSHOOT * move
    near = image + _OVERSHOOT * from_image
    return ((1 - alpha) * ahead + alpha * near).clamp(0, 1).view(x.shape)


def _lengths(moves: Tensor, norm: Norm) -> Tensor:
    if norm == "linf":
        return moves.abs().amax(1)
    return exact_sums(moves.abs()) if norm == "l1" else exact_sums(moves.square()).sqrt()

"""Loss landscapes around test images (Figure 11)."""

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyrobust import ops
from pyrobust.attacks import FixedPasses, LogitsFn, ThreatModel, pgd, pgd40
from pyrobust.config.evaluation import LandscapeSettings
from pyrobust.cost import write_cost
from pyrobust.errors import UserError
from pyrobust.evaluation.model_under_test import Subject
from pyrobust.files import write_json
from pyrobust.ops.precision import exact_kernels

_PASS_SIZE = 64


def write_landscape(subject: Subject, output: Path, settings: LandscapeSettings) -> None:
    """Write `landscape.json`: the margin on a plane through each of the first test images.

    The u direction leads to the worst point that PGD-40 finds, the v direction has random signs
    (Rademacher). Both have length 1 in the norm, so that u and v are the magnitudes of the two
    perturbations; for linf the ball is the diamond |u| + |v| <= epsilon. Points are not clipped
    to [0, 1]: the plane is the linear space that the paper speaks of.

    Raises:
        UserError: the norm is l1, whose ball is neither a diamond nor a circle in this plane.
    """
    if subject.threat.norm == "l1":
        raise UserError("norm is 'l1', but landscapes are drawn for linf and l2: use one of them")
    started = time.monotonic()
    with exact_kernels():
        images = _planes(subject, settings)
    write_cost(output / "cost.json", time.monotonic() - started, subject.device)
    threat: dict[str, Any] = subject.threat_settings.model_dump(mode="json")
    write_json(output / "landscape.json", {**threat, "images": images})


def _planes(subject: Subject, settings: LandscapeSettings) -> list[dict[str, Any]]:
    count = min(settings.num_images, subject.images.count)
    x, labels = subject.load(range(count))
    ids = torch.arange(count, device=x.device)
    logits_fn, threat = FixedPasses(subject.logits_fn, _PASS_SIZE), subject.threat
    worst = pgd(logits_fn, x, labels, ids, pgd40(threat, stop_when_broken=False), settings.seed)
    signs = ops.random_signs(ids, x.shape[1:], settings.seed)
    reach = settings.extent * threat.epsilon
    axis = torch.linspace(-reach, reach, settings.resolution, dtype=torch.float64).tolist()
    images = []
    for image in range(count):
        u, v = (_unit(threat, direction[image]) for direction in (worst - x, signs))
        margins = margin_plane(logits_fn, x[image], labels[image], u, v, axis)
        images.append(
            {
                "image": image,
                "label": int(labels[image]),
                "u": axis,
                "v": axis,
                "margin": margins.tolist(),
            }
        )
    return images


def margin_plane(
    logits_fn: LogitsFn, x: Tensor, label: Tensor, u: Tensor, v: Tensor, axis: list[float]
) -> Tensor:
    """Return z_y - max over i ≠ y of z_i at x + a u + b v, (len(axis), len(axis)).

    Args:
        x, u, v: (C, H, W).
        axis: values of a along a row, and of b from row to row.

    Raises:
        UserError: a logit is not finite.
    """
    rows = []
    for b in axis:
        points = torch.stack([x + a * u + b * v for a in axis])
        with torch.no_grad():
            logits = logits_fn(points)
        if not logits.isfinite().all():
            raise UserError(
                "the model's logits are not finite near a test image; a landscape requires a "
                "model that passes the check 'finite_logits' of 'pyrobust evaluate'"
            )
        loss, _ = ops.margin(logits, label.expand(len(axis)))
        rows.append(-loss)
    return torch.stack(rows)


def _unit(threat: ThreatModel, direction: Tensor) -> Tensor:
    """Return a direction (C, H, W) scaled to length 1 in the norm."""
    length = direction.abs().max() if threat.norm == "linf" else direction.norm()
    return direction / length

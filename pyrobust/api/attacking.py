"""`pyrobust.attack`: one attack on images in memory, which returns the points it finds."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from pyrobust.api.images import labelled_images
from pyrobust.api.models import Model, epsilon_of, model_source
from pyrobust.attacks import ThreatModel
from pyrobust.config import parse_epsilon, parse_settings
from pyrobust.config.api import AttackArguments
from pyrobust.config.evaluation import ThreatSettings
from pyrobust.errors import UserError
from pyrobust.evaluation.attack_stages import judge_and_search_passes
from pyrobust.evaluation.attack_suites import CustomAttack, stage_of
from pyrobust.evaluation.model_under_test import Subject
from pyrobust.imports import import_path_of
from pyrobust.ops.device import choose_device
from pyrobust.ops.precision import exact_kernels


def attack(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    norm: str,
    epsilon: str | float,
    method: str | CustomAttack = "apgd_ce",
    steps: int | None = None,
    restarts: int = 1,
    seed: int = 0,
    sample_ids: Tensor | Sequence[int] | None = None,
    weights: str | Path | None = None,
    mean: float | Sequence[float] = (),
    std: float | Sequence[float] = (),
    batch_size: int = 128,
    device: str = "auto",
) -> Tensor:
    """Return the worst point found for each image: inside the ball and [0, 1], float32.

    The points lie on the device of `images`. An image's point depends on (seed, sample id) and
    not on the other images.

    Args:
        model: see `pyrobust.load`.
        images: (N, C, H, W), floating-point in [0, 1] or uint8.
        labels: (N,) integers.
        norm: linf, l2 or l1.
        epsilon: radius for pixels in [0, 1], such as "8/255" or 0.5.
        method: apgd_ce, apgd_dlr or apgd_t (Croce and Hein 2020), multitargeted (Gowal et al.
            2019), pgd40 (the authors' PGD), or a function of your own or its MODULE:NAME
            (docs/extending.md).
        steps: of each restart; default: 100, and 200 for multitargeted. pgd40 always takes 40.
        restarts: random restarts for each image, or for each of its targets.
        sample_ids: (N,) integers that name the random starts; default: 0 to N - 1.
        weights, mean, std: see `pyrobust.load`.
        batch_size: images in one pass of the network.

    Raises:
        UserError: names the argument, its value and what to change.
    """
    numbers = {"steps": steps, "restarts": restarts, "batch_size": batch_size, "seed": seed}
    asked = parse_settings(AttackArguments, numbers)
    threat = parse_settings(ThreatSettings, {"norm": norm, "epsilon": epsilon_of(epsilon)})
    subject = Subject.open(
        model_source(model, weights, mean, std),
        labelled_images(images, labels, None),
        threat,
        str(choose_device(device)),
    )
    ball = ThreatModel(threat.norm, parse_epsilon(threat.epsilon))
    name = import_path_of(method, "method")
    stage = stage_of(name, ball, subject.num_classes, asked.steps, asked.restarts, asked.seed)
    count = subject.images.count
    ids = torch.arange(count) if sample_ids is None else torch.as_tensor(sample_ids)
    if tuple(ids.shape) != (count,) or ids.is_floating_point():
        raise UserError(
            f"sample_ids have shape {tuple(ids.shape)} and type {ids.dtype}, expected ({count},) "
            "integers: one for each image"
        )
    x, y = subject.load(range(count))
    with exact_kernels():
        logits_fn, _ = judge_and_search_passes(
            subject.logits_fn, "float32", asked.batch_size, x[: asked.batch_size]
        )
        x_adv = stage.run(logits_fn, x.clone(), y, ids.to(x.device, torch.int64))
    outside = int((~ball.contains(x_adv, x)).sum())
    if outside:
        raise UserError(f"{name} returned {outside} points outside the ball or [0, 1]")
    return x_adv.to(images.device)

"""`pyrobust.verify`: whether the points of an evaluation show what it claims."""

import os
from collections.abc import Sequence
from pathlib import Path

from pyrobust.api.images import Images, Labels, labelled_images
from pyrobust.api.models import Model, epsilon_of, model_source
from pyrobust.config import parse_settings
from pyrobust.config.evaluation import ThreatSettings
from pyrobust.errors import UserError
from pyrobust.evaluation.model_under_test import Subject
from pyrobust.evaluation.transcripts.files import verify_file
from pyrobust.evaluation.transcripts.verification import Verification
from pyrobust.ops.device import choose_device


def verify(
    file: str | os.PathLike[str],
    model: Model,
    images: Images,
    labels: Labels = None,
    *,
    norm: str | None = None,
    epsilon: str | float | None = None,
    claimed: float | None = None,
    weights: str | Path | None = None,
    mean: float | Sequence[float] = (),
    std: float | Sequence[float] = (),
    device: str = "auto",
) -> Verification:
    """Recompute what a transcript claims, by one forward pass for each image and each point.

    Args:
        file: a transcript, or adversarial images from other tools: a .npy array (N, C, H, W),
            or a .pt tensor as AutoAttack saves it.
        model, images, labels: the verifier's own, as in `pyrobust.evaluate`.
        norm, epsilon: required for images from other tools; a transcript must agree with them.
        claimed: robust accuracy that images from other tools are said to show, in [0, 1].
        weights, mean, std: see `pyrobust.load`.

    Returns:
        `holds`, the recomputed accuracies, the images that differ and those that are not decided.

    Raises:
        TranscriptError: a transcript that has changed since it was written, or another file.
        UserError: names the argument, its value and what to change.
    """
    if (norm is None) != (epsilon is None):
        raise UserError("a perturbation set has a norm and a radius: give both norm and epsilon")
    threat = None
    if epsilon is not None:
        threat = parse_settings(ThreatSettings, {"norm": norm, "epsilon": epsilon_of(epsilon)})
    found = labelled_images(images, labels, None)
    source, where = model_source(model, weights, mean, std), str(choose_device(device))
    return verify_file(
        Path(file), lambda wanted: Subject.open(source, found, wanted, where), threat, claimed
    )

"""Make the transcript of an evaluation, and check that it restores every point."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pyrobust.attacks import FixedPasses
from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.cost import device_name, versions
from pyrobust.errors import UserError
from pyrobust.evaluation.model_under_test import Subject
from pyrobust.evaluation.transcripts.evidence import (
    BROKEN,
    MISCLASSIFIED,
    STANDING,
    image_digests,
    judge_points,
    weights_sha256,
)
from pyrobust.evaluation.transcripts.perturbation_codec import decode_points, encode_points
from pyrobust.evaluation.transcripts.transcript import BLOCK, Transcript, claim_of


@dataclass(frozen=True)
class Attacked:
    """What one cascade found.

    Attributes:
        attack: its name; `stages`: what it ran, in words.
        ids: (N,) int64, rows of the data set, ascending.
        clean_correct, broken: (N,) bool.
        points: (N, C, H, W) float32, the one that broke each broken image.
    """

    attack: str
    stages: Sequence[str]
    ids: NDArray[np.int64]
    clean_correct: NDArray[np.bool_]
    broken: NDArray[np.bool_]
    points: NDArray[np.float32]


def make_transcript(
    subject: Subject, settings: EvaluationSettings, attacked: Attacked
) -> Transcript:
    """Return the transcript of what `attacked` found.

    Every image is classified once more, and every point is encoded, decoded, compared bit for bit
    and classified.

    Raises:
        UserError: the network classifies an image or a point differently now.
    """
    passes = FixedPasses(subject.logits_fn, settings.pass_size)
    fate = np.where(attacked.clean_correct, STANDING, MISCLASSIFIED).astype(np.uint8)
    fate[attacked.broken] = BROKEN
    digests, clean_margins, changed = [], [], 0
    for start in range(0, len(fate), settings.pass_size):
        rows = slice(start, start + settings.pass_size)
        x, labels = subject.load(attacked.ids[rows])
        verdict = judge_points(passes, x, labels)
        digests.append(image_digests(x, labels))
        clean_margins.append(verdict.margin)
        changed += int((verdict.correct != attacked.clean_correct[rows]).sum())
    blocks, margins = [], []
    broken = np.flatnonzero(fate == BROKEN)
    for start in range(0, len(broken), BLOCK):
        places = broken[start : start + BLOCK]
        x, labels = subject.load(attacked.ids[places])
        points, images = attacked.points[places], x.cpu().numpy()
        block = encode_points(points, images, subject.threat.epsilon)
        again = decode_points(block, images, subject.threat.epsilon)
        if again.tobytes() != points.tobytes():
            raise AssertionError(f"points {places} do not survive their encoding")
        verdict = judge_points(passes, torch.from_numpy(again).to(x), labels)
        blocks.append(block)
        margins.append(verdict.margin)
        changed += int(verdict.correct.sum())
    if changed:
        raise UserError(
            f"the network classifies {changed} images differently when asked again, so nobody "
            "could verify a transcript; evaluate a deterministic network, or omit --transcript"
        )
    images_of = subject.images
    return Transcript(
        facts={
            "claim": claim_of(fate),
            "images": {
                "name": images_of.name,
                "split": images_of.split,
                "sha256": images_of.sha256,
                "shape": list(images_of.image_shape),
            },
            "model": {
                "weights_sha256": weights_sha256(subject.logits_fn),
                "num_classes": subject.num_classes,
                **subject.identity["network"],
            },
            "threat": subject.threat_settings.model_dump(mode="json"),
            "attack": {
                "name": attacked.attack,
                "stages": list(attacked.stages),
                "settings": settings.model_dump(mode="json"),
            },
            "judge": {
                "device": device_name(subject.device),
                "dtype": "float32",
                "pass_size": settings.pass_size,
            },
            "versions": versions(),
        },
        ids=attacked.ids,
        digests=np.concatenate(digests),
        fate=fate,
        clean_margin=np.concatenate(clean_margins),
        margin=np.concatenate([np.empty(0, np.float32), *margins]),
        blocks=tuple(blocks),
    )

"""The robust accuracy of a model, stage by stage and image by image."""

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pyrobust.attacks import LogitsFn, packed_passes
from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.cost import write_cost
from pyrobust.evaluation.aa_mt import aa_mt
from pyrobust.evaluation.autoattack import autoattack
from pyrobust.evaluation.cascade import CascadeRun
from pyrobust.evaluation.checks import Check, check_model
from pyrobust.evaluation.kernels import exact_kernels
from pyrobust.evaluation.masking import check_masking, check_square
from pyrobust.evaluation.outcome import Outcome
from pyrobust.evaluation.rows import write_rows
from pyrobust.evaluation.stages import Cascade
from pyrobust.evaluation.subject import Subject
from pyrobust.files import atomic_path, write_json
from pyrobust.progress import counting

logger = logging.getLogger(__name__)

# Enough to see what is wrong with a network, and few beside those that are evaluated.
_CHECKED_IMAGES = 64


def evaluate(
    subject: Subject, output: Path, settings: EvaluationSettings, keep_adversarial: bool = False
) -> None:
    """Attack the images and write `rows.parquet`, `cost.json` and, last, `evaluation.json`.

    A run that was killed goes on where it was; its state lies under `output`/state until the end.

    Args:
        keep_adversarial: also write `adversarial.npy`, the worst point of each image under AA+MT,
            (N, C, H, W) float32.
    """
    cascades = [aa_mt(settings, subject.threat, subject.num_classes)]
    if settings.autoattack:
        cascades.append(autoattack(subject.threat, subject.num_classes, settings.seed))
    state = output / "state"
    with exact_kernels():
        x, _ = subject.load(range(min(settings.pass_size, _num_images(subject, settings))))
        logits_fn = packed_passes(subject.logits_fn, settings.pass_size, x)
        checks = _checks(subject, logits_fn, settings)
        run = CascadeRun(
            logits_fn,
            subject.threat,
            subject.load,
            state / _key(subject, settings, keep_adversarial),
            keep_adversarial,
        )
        outcomes = _attack(run, cascades, _num_images(subject, settings), settings.batch_size)
    attacked = list(zip(cascades, outcomes, strict=True))
    checks += [check_square(*autoattacked) for autoattacked in attacked[1:]]
    for check in checks:
        if not check.passed:
            logger.warning("warning: %s failed: %s", check.name, check.seen)

    labels = subject.labels[: len(outcomes[0].broken_by)]
    write_rows(output / "rows.parquet", labels, attacked[0], attacked[1] if attacked[1:] else None)
    if keep_adversarial:
        with atomic_path(output / "adversarial.npy") as temporary:
            np.save(temporary, outcomes[0].x_adv)
    seconds = float(sum(outcome.seconds.sum() for outcome in outcomes))
    write_cost(output / "cost.json", seconds, subject.device, len(labels) / max(seconds, 1e-9))
    write_json(output / "evaluation.json", _summary(subject, settings, attacked, checks))
    shutil.rmtree(state)


def _num_images(subject: Subject, settings: EvaluationSettings) -> int:
    return min(settings.num_images or subject.store.count, subject.store.count)


def _checks(subject: Subject, logits_fn: LogitsFn, settings: EvaluationSettings) -> list[Check]:
    """Look at the model through the first images, and attack those it gets right."""
    x, labels = subject.load(range(min(_CHECKED_IMAGES, _num_images(subject, settings))))
    right = logits_fn(x).argmax(1) == labels
    masking = check_masking(logits_fn, x[right], labels[right], subject.threat, settings.seed)
    return check_model(logits_fn, x, labels) + masking


def _key(subject: Subject, settings: EvaluationSettings, keep_adversarial: bool) -> str:
    """Return a name that changes with all that the state depends on."""
    identity = [subject.identity, settings.model_dump(mode="json"), keep_adversarial]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def _attack(
    run: CascadeRun, cascades: Sequence[Cascade], num_images: int, batch_size: int
) -> list[Outcome]:
    """Return the outcome of all images under each cascade."""
    batches = [
        range(start, min(start + batch_size, num_images))
        for start in range(0, num_images, batch_size)
    ]
    total = num_images * sum(len(cascade.stages) for cascade in cascades)
    with counting(total, "attack", "images × stages") as advance:
        return [
            Outcome.joined(run.attack(cascade, rows, advance) for rows in batches)
            for cascade in cascades
        ]


def _summary(
    subject: Subject,
    settings: EvaluationSettings,
    attacked: Sequence[tuple[Cascade, Outcome]],
    checks: Sequence[Check],
) -> dict[str, Any]:
    results = [_result(*pair) for pair in attacked]
    ours, theirs = results[0], results[1] if results[1:] else None
    notes = [note for pair in attacked for note in _notes(*pair)]
    clean_correct = attacked[0][1].clean_correct
    return {
        **subject.threat_settings.model_dump(mode="json"),
        "settings": settings.model_dump(mode="json"),
        "num_images": len(clean_correct),
        "clean_accuracy": float(clean_correct.mean()),
        **ours,
        "autoattack": theirs,
        "worst": min(result["robust_accuracy"] for result in results),
        "checks": [asdict(check) for check in checks],
        "notes": notes,
    }


def _result(cascade: Cascade, outcome: Outcome) -> dict[str, Any]:
    """Return the stages of one cascade, and what stands after the last one."""
    total = len(outcome.broken_by)
    standing = int(outcome.clean_correct.sum())
    stages = []
    for number, stage in enumerate(cascade.stages):
        standing -= int((outcome.broken_by == number).sum())
        stages.append(
            {
                "name": stage.name,
                "attack": stage.attack,
                "seed": stage.seed,
                "num_standing": standing,
                "robust_accuracy": standing / total,
            }
        )
    return {"stages": stages, "robust_accuracy": standing / total}


def _notes(cascade: Cascade, outcome: Outcome) -> list[str]:
    refused = [
        f"{count} points of {stage.name} were refused: they left the ball or [0, 1]"
        for stage, count in zip(cascade.stages, outcome.refused, strict=True)
        if count
    ]
    return [*cascade.notes, *refused]

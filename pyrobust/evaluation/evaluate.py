"""The evaluation of a model: attack the images, and write the results (docs/formats.md)."""

import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pyrobust.attacks import FixedPasses
from pyrobust.attacks.threat_model import NO_CLASS, is_broken
from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.config.radius import check_radius
from pyrobust.cost import write_cost
from pyrobust.errors import UserError
from pyrobust.evaluation.anytime import Limits, attack_until
from pyrobust.evaluation.attack_stages import Cascade, judge_and_search_passes
from pyrobust.evaluation.attack_suites import import_attack, main_cascade
from pyrobust.evaluation.autoattack import autoattack
from pyrobust.evaluation.cascade import CascadeRun
from pyrobust.evaluation.checks import (
    Check,
    TestedAttack,
    check_masking,
    check_model,
    check_square,
    is_trusted,
    warn_of_failures,
)
from pyrobust.evaluation.describe import POINTS, RESULT, ROWS
from pyrobust.evaluation.model_under_test import Subject
from pyrobust.evaluation.outcomes import UNBROKEN, Outcome
from pyrobust.evaluation.result_rows import write_rows
from pyrobust.evaluation.robustness_curve import Curve, Radii, attack_radii
from pyrobust.evaluation.saved_state import (
    check_result_is_a_sample,
    check_result_is_not_replaced,
    fingerprint,
    state_folder,
)
from pyrobust.evaluation.transcripts.recording import Attacked, make_transcript
from pyrobust.evaluation.transcripts.transcript import check_transcript_name
from pyrobust.files import atomic_path, write_json
from pyrobust.imports import source_sha256
from pyrobust.memory import keep_freed_memory
from pyrobust.ops.precision import exact_kernels
from pyrobust.progress import counting
from pyrobust.shares import Share

logger = logging.getLogger(__name__)

# Folder of the state, inside that of the results.
STATE = "state"
# Enough to detect problems of a network, and few compared with an evaluation.
_CHECKED_IMAGES = 64


def summarize(
    subject: Subject,
    settings: EvaluationSettings,
    attacked: Sequence[tuple[Cascade, Outcome]],
    curve: Curve | None,
    checks: Sequence[Check],
) -> dict[str, Any]:
    """Return the contents of `evaluation.json`: accuracies after each stage, and checks.

    Args:
        attacked: AA+MT, and AutoAttack if it ran.
    """
    results = [_result(*pair) for pair in attacked]
    ours, theirs = results[0], results[1] if results[1:] else None
    notes = [note for pair in attacked for note in _notes(*pair)]
    clean_correct = attacked[0][1].clean_correct
    return {
        "dataset": subject.images.name,
        "split": subject.images.split,
        "subject": subject.identity,
        **subject.threat_settings.model_dump(mode="json"),
        "settings": settings.model_dump(mode="json"),
        "num_images": len(clean_correct),
        "clean_accuracy": float(clean_correct.mean()),
        **ours,
        "autoattack": theirs,
        "worst": min(result["robust_accuracy"] for result in results),
        "curve": curve.summary(clean_correct) if curve else [],
        "checks": [asdict(check) for check in checks],
        "trusted": is_trusted(checks),
        "notes": notes,
    }


def _result(cascade: Cascade, outcome: Outcome) -> dict[str, Any]:
    """Return the stages of one cascade, and the robust accuracy after the last one."""
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
    none = int((outcome.adversarial_prediction == NO_CLASS).sum())
    not_finite = [f"{none} images are broken by logits of {cascade.name} that are not finite"]
    return [*cascade.notes, *refused, *(not_finite if none else [])]


def evaluate(
    subject: Subject,
    output: Path,
    settings: EvaluationSettings,
    keep_adversarial: bool = False,
    share: Share | None = None,
    transcript: Path | None = None,
    limits: Limits | None = None,
) -> dict[str, Any] | None:
    """Attack the images and write `rows.parquet`, `cost.json` and, last, `evaluation.json`.

    An interrupted run resumes from `output`/state, which is removed at the end.

    Args:
        keep_adversarial: also write `adversarial.npy`, the worst point of each image under AA+MT,
            (N, C, H, W) float32.
        share: attack only every `of`-th batch, from number `number`, and keep the state; a run
            without a share attacks the remaining batches and writes the results.
        transcript: also write the points of the cascade with the lower robust accuracy to this
            file (`pyrobust.evaluation.transcripts`).
        limits: attack images in random order until a limit or a signal; the state is kept, so
            that a later run with larger limits resumes, unless all images are attacked.

    Returns:
        the contents of `evaluation.json`; None for a share.

    Raises:
        UserError: `output` has the result of another evaluation, or one of all images where
            limits are given, or the network of a transcript is not deterministic.
    """
    check_transcript_name(transcript)
    if limits and (share or settings.curve or settings.autoattack):
        raise UserError(
            "a budget or a width does not go with share, curve or autoattack: omit one of the two "
            "(attack autoattack is possible)"
        )
    started = time.monotonic()
    keep_freed_memory()
    if ":" in settings.attack:  # the result also depends on the code of a custom attack
        code = source_sha256(import_attack(settings.attack))
        subject = replace(subject, identity={**subject.identity, "attack_code": code})
    if share is None:
        check_result_is_not_replaced(output, subject.identity, settings.model_dump(mode="json"))
    if limits:
        check_result_is_a_sample(output)
    cascades = [main_cascade(settings, subject.threat, subject.num_classes)]
    if settings.autoattack:
        cascades.append(autoattack(subject.threat, subject.num_classes, settings.seed))
    threat = subject.threat_settings
    for radius in settings.curve:
        check_radius(threat.norm, radius, subject.images.image_shape, "a radius of curve")
    radii = Radii.of(settings, threat.norm, threat.epsilon, subject.num_classes)
    count, batches = subject.batches(settings.num_images, settings.batch_size)
    state = output / STATE
    keep_points = keep_adversarial or transcript is not None
    identity = [subject.identity, settings.model_dump(mode="json"), keep_points]
    identity += ["anytime"] if limits else []
    with exact_kernels():
        x, labels = subject.load(range(min(max(settings.pass_size, _CHECKED_IMAGES), count)))
        few = slice(0, _CHECKED_IMAGES)
        logits_fn, search_fn = judge_and_search_passes(
            subject.logits_fn, settings.search, settings.pass_size, x, settings.batch_size
        )
        folder = state_folder(state, identity, fingerprint(logits_fn, x[few]))
        run = CascadeRun(logits_fn, search_fn, subject.threat, subject.load, folder, keep_points)
        if share:
            _attack(run, cascades, radii, batches[share.number - 1 :: share.of])
            return None
        logger.info("checking the model on %d images", len(x[few]))
        tested = TestedAttack(cascades[0], logits_fn, search_fn)
        checks = _checks(subject, logits_fn, x[few], labels[few], settings, tested)
        warn_of_failures(checks)
        seconds = time.monotonic() - started
        sample, ids = None, np.arange(count)
        if limits:
            sample = attack_until(run, cascades[0], count, settings, limits, started)
            outcomes, curve, ids = [sample.outcome], None, sample.ids
        else:
            outcomes, curve = _attack(run, cascades, radii, batches)
    attacked = list(zip(cascades, outcomes, strict=True))
    afterwards = [check_square(*pair) for pair in attacked if pair[0].name == "autoattack"]
    warn_of_failures(afterwards)
    checks += afterwards

    write_rows(output / ROWS, subject.images.labels[ids], attacked, curve, ids)
    if keep_adversarial:
        with atomic_path(output / POINTS) as temporary:
            np.save(temporary, outcomes[0].x_adv)
    else:  # points of an earlier result
        (output / POINTS).unlink(missing_ok=True)
    # Attacks of earlier runs and of other jobs also count.
    seconds += float(sum(outcome.seconds.sum() for outcome in outcomes))
    seconds += curve.seconds if curve else 0.0
    write_cost(output / "cost.json", seconds, subject.device, len(ids) / max(seconds, 1e-9))
    result = summarize(subject, settings, attacked, curve, checks)
    if sample:
        result["anytime"] = sample.summary
    try:
        if transcript is not None:
            best = min(attacked, key=lambda pair: int(pair[1].standing.sum()))
            make_transcript(subject, settings, _found(settings, ids, *best)).write(transcript)
    except UserError:  # a network that is not deterministic has a result, but no transcript
        write_json(output / RESULT, result)
        raise
    write_json(output / RESULT, result)
    if sample is None or sample.finished:
        shutil.rmtree(state)
    return result


def _found(
    settings: EvaluationSettings, ids: NDArray[np.int64], cascade: Cascade, outcome: Outcome
) -> Attacked:
    """Return what a transcript states about the images of one cascade."""
    return Attacked(
        attack=settings.attack if cascade.name == "custom" else cascade.name,
        stages=[stage.attack for stage in cascade.stages],
        ids=ids,
        clean_correct=outcome.clean_correct,
        broken=outcome.broken_by != UNBROKEN,
        points=outcome.x_adv,
    )


def _checks(
    subject: Subject,
    logits_fn: FixedPasses,
    x: Tensor,
    labels: Tensor,
    settings: EvaluationSettings,
    attack: TestedAttack,
) -> list[Check]:
    """Check the model on a few images, and attack those that it classifies correctly."""
    right = ~is_broken(logits_fn(x), labels)
    surrogate_fn = subject.surrogate_fn and FixedPasses(subject.surrogate_fn, settings.pass_size)
    masking = check_masking(
        logits_fn, x[right], labels[right], subject.threat, settings.seed, surrogate_fn, attack
    )
    return check_model(logits_fn, x, labels, subject.threat) + masking


def _attack(
    run: CascadeRun, cascades: Sequence[Cascade], radii: Radii, batches: Sequence[range]
) -> tuple[list[Outcome], Curve | None]:
    """Return the outcome of all images under each cascade, and the curve if there is one."""
    if not batches:
        return [], None
    num_stages = sum(len(cascade.stages) for cascade in cascades) + radii.num_stages
    total = sum(map(len, batches)) * num_stages
    with counting(total, "attack", "images × stages") as advance:
        outcomes = [
            [run.attack(cascade, rows, advance) for rows in batches] for cascade in cascades
        ]
        curves = [
            attack_radii(run, radii, rows, own, advance)
            for rows, own in zip(batches, outcomes[0], strict=True)
            if radii.num_stages
        ]
    return [Outcome.joined(parts) for parts in outcomes], Curve.joined(curves) if curves else None

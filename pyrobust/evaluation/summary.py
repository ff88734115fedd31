"""What `evaluation.json` holds (docs/formats.md)."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.evaluation.checks import Check
from pyrobust.evaluation.curve import Curve
from pyrobust.evaluation.outcome import Outcome
from pyrobust.evaluation.stages import Cascade
from pyrobust.evaluation.subject import Subject


def summarize(
    subject: Subject,
    settings: EvaluationSettings,
    attacked: Sequence[tuple[Cascade, Outcome]],
    curve: Curve | None,
    checks: Sequence[Check],
) -> dict[str, Any]:
    """Return the accuracies stage by stage.

    Args:
        attacked: AA+MT, and AutoAttack where it ran.
    """
    results = [_result(*pair) for pair in attacked]
    ours, theirs = results[0], results[1] if results[1:] else None
    notes = [note for pair in attacked for note in _notes(*pair)]
    clean_correct = attacked[0][1].clean_correct
    return {
        "dataset": subject.dataset,
        "split": subject.split,
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

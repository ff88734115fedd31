"""Robust accuracy under threats of several kinds, and under all of them together.

The file `threats.json` (docs/formats.md) holds the accuracy under each threat, and the union
accuracy: the share of images that no attack of any threat breaks.
"""

import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from torch import Tensor

from pyrobust.attacks import LogitsFn, ThreatModel
from pyrobust.attacks.threat_model import predictions
from pyrobust.config.radius import check_radius
from pyrobust.config.threats import ThreatsSettings
from pyrobust.cost import write_cost
from pyrobust.evaluation.attack_stages import Cascade, judge_and_search_passes
from pyrobust.evaluation.cascade import CascadeRun
from pyrobust.evaluation.checks import Check, check_masking, check_model, warn_of_failures
from pyrobust.evaluation.describe_threats import RESULT
from pyrobust.evaluation.intervals import wilson_interval
from pyrobust.evaluation.model_under_test import Subject
from pyrobust.evaluation.outcomes import Outcome, names_of
from pyrobust.evaluation.saved_state import (
    check_result_is_not_replaced,
    fingerprint,
    state_folder,
)
from pyrobust.evaluation.threat_attacks import BALLS, ThreatAttack, threat_attack
from pyrobust.files import atomic_path, read_json, write_json
from pyrobust.memory import keep_freed_memory
from pyrobust.ops.precision import exact_kernels
from pyrobust.progress import counting

ROWS, STATE = "threats.parquet", "state"
_CHECKED_IMAGES = 64


def evaluate_threats(subject: Subject, output: Path, settings: ThreatsSettings) -> dict[str, Any]:
    """Attack the images under each threat; write `threats.parquet` and, last, `threats.json`.

    A run that was killed resumes from its state, which lies under `output`/state until the end.

    Returns:
        what `threats.json` holds.

    Raises:
        UserError: `output` holds the result of other threats, images or another model.
    """
    started = time.monotonic()
    for norm in BALLS:
        if norm in settings.threats:
            check_radius(norm, getattr(settings, norm), subject.images.image_shape, norm)
    keep_freed_memory()
    identity = {k: v for k, v in subject.identity.items() if k not in ("norm", "epsilon")}
    values = settings.model_dump(mode="json")
    check_result_is_not_replaced(output, identity, values, RESULT, ThreatsSettings)
    attacks = [
        threat_attack(name, settings, subject.images.image_shape, subject.num_classes)
        for name in settings.threats
    ]
    count, batches = subject.batches(settings.num_images, settings.batch_size)
    state = output / STATE
    with exact_kernels():
        x, labels = subject.load(range(min(max(settings.pass_size, _CHECKED_IMAGES), count)))
        few = slice(0, _CHECKED_IMAGES)
        logits_fn, _ = judge_and_search_passes(subject.logits_fn, "float32", settings.pass_size, x)
        # A version with other corruptions numbers its stages differently.
        stages = [[stage.name for stage in attack.cascade.stages] for attack in attacks]
        folder = state_folder(state, [identity, values, stages], fingerprint(logits_fn, x[few]))
        checks = _checks(attacks, logits_fn, x[few], labels[few], settings.seed)
        seconds = time.monotonic() - started
        total = count * sum(len(attack.cascade.stages) for attack in attacks)
        with counting(total, "attack", "images × stages") as advance:
            outcomes = [
                Outcome.joined(
                    CascadeRun(
                        logits_fn, logits_fn, attack.allowed, subject.load, folder, False
                    ).attack(attack.cascade, rows, advance)
                    for rows in batches
                )
                for attack in attacks
            ]
    _write_rows(output / ROWS, subject.images.labels[:count], attacks, outcomes)
    seconds += float(sum(outcome.seconds.sum() for outcome in outcomes))
    write_cost(output / "cost.json", seconds, subject.device, count / max(seconds, 1e-9))
    result = {
        "dataset": subject.images.name,
        "split": subject.images.split,
        "subject": identity,
        "settings": values,
        "num_images": count,
        **_summary(attacks, outcomes),
        "checks": [asdict(check) for check in checks],
    }
    write_json(output / RESULT, result)
    shutil.rmtree(state)
    return read_json(output / RESULT, "pyrobust threats")


def _checks(
    attacks: Sequence[ThreatAttack], logits_fn: LogitsFn, x: Tensor, labels: Tensor, seed: int
) -> list[Check]:
    """Look at the model through a few images, and for masked gradients in each ball."""
    checks: list[Check] = []
    right = predictions(logits_fn(x)) == labels
    balls = [a.allowed for a in attacks if isinstance(a.allowed, ThreatModel)]
    for number, threat in enumerate(balls):
        if number == 0:
            checks += check_model(logits_fn, x, labels, threat)
        found = check_masking(logits_fn, x[right], labels[right], threat, seed)
        checks += [replace(check, name=f"{threat.norm}: {check.name}") for check in found]
    warn_of_failures(checks)
    return checks


def _summary(attacks: Sequence[ThreatAttack], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the accuracy under each threat, under the balls together, and under all."""
    clean = outcomes[0].clean_correct
    standing = {a.name: outcome.standing for a, outcome in zip(attacks, outcomes, strict=True)}
    balls = [name for name in standing if name in BALLS]
    unions = [("balls", balls)] if 1 < len(balls) < len(standing) else []
    unions.append(("all", list(standing)))
    return {
        "clean_accuracy": float(clean.mean()),
        "threats": [
            {
                "name": attack.name,
                "threat": attack.words,
                **_share(outcome.standing),
                "stages": _stages(attack.cascade, outcome),
                "refused": int(outcome.refused.sum()),
            }
            for attack, outcome in zip(attacks, outcomes, strict=True)
        ],
        "unions": [
            {
                "name": name,
                "threats": members,
                **_share(np.logical_and.reduce([standing[member] for member in members])),
            }
            for name, members in unions
        ],
    }


def _share(standing: NDArray[np.bool_]) -> dict[str, Any]:
    count = int(standing.sum())
    return {
        "num_standing": count,
        "robust_accuracy": count / len(standing),
        "interval": list(wilson_interval(count, len(standing))),
    }


def _stages(cascade: Cascade, outcome: Outcome) -> list[dict[str, Any]]:
    """Return what each attack broke of the images that those before it left."""
    return [
        {
            "name": stage.name,
            "attack": stage.attack,
            "seed": stage.seed,
            "num_broken": int((outcome.broken_by == number).sum()),
        }
        for number, stage in enumerate(cascade.stages)
    ]


def _write_rows(
    path: Path,
    labels: NDArray[np.int64],
    attacks: Sequence[ThreatAttack],
    outcomes: Sequence[Outcome],
) -> None:
    """Write one row for each image: which attack broke it under each threat, null for none."""
    first = outcomes[0]
    columns: dict[str, Any] = {
        "image": pa.array(np.arange(len(labels))),
        "label": pa.array(labels),
        "clean_prediction": pa.array(first.clean_prediction),
        "clean_correct": pa.array(first.clean_correct),
    }
    for attack, outcome in zip(attacks, outcomes, strict=True):
        names = [stage.name for stage in attack.cascade.stages]
        columns[f"broken_by_{attack.name}"] = names_of(outcome.broken_by, names)
    standing = np.logical_and.reduce([outcome.standing for outcome in outcomes])
    columns["robust_to_all"] = pa.array(standing)
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(columns), temporary)

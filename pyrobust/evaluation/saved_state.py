"""Match saved state and results to an evaluation by what the model computes."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrobust import ops
from pyrobust.attacks import LogitsFn
from pyrobust.config import Settings, parse_settings
from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.errors import UserError
from pyrobust.evaluation.describe import RESULT
from pyrobust.files import atomic_path, computed_again_if_damaged, described_by, read_json

_LOGITS = "logits.npy"
# Number of noise images used in addition to real ones; their seed.
_NOISE, _SEED = 16, 0
# Logits that differ by less than this share of the largest one are those of one model: more than
# processors and GPUs differ by, less than a change of code or weights makes.
_EQUAL = 1e-4


def fingerprint(logits_fn: LogitsFn, x: Tensor) -> NDArray[np.float32]:
    """Return the logits of images x (N, C, H, W) and of noise, (N + 16, K).

    A randomised network has none and gets zeros.
    """
    ids = torch.arange(_NOISE, device=x.device)
    images = torch.cat([x, ops.uniform(ids, x.shape[1:], _SEED)])
    with torch.no_grad():
        logits, again = (logits_fn(images).cpu().numpy() for _ in range(2))
    return logits if _equal(logits, again) else np.zeros_like(logits)


def state_folder(state: Path, identity: Any, logits: NDArray[np.float32]) -> Path:
    """Return the folder below `state` of an evaluation, new or saved by an earlier run.

    Args:
        identity: JSON values that everything saved depends on, apart from the model's code.
        logits: the model's `fingerprint`.
    """
    text = json.dumps(identity, sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    for folder in sorted(state.glob(f"{key}-*")):
        saved = folder / _LOGITS
        if not saved.is_file():
            continue
        with computed_again_if_damaged(saved):
            if _equal(np.load(saved, allow_pickle=False), logits):
                return folder
    folder = state / f"{key}-{hashlib.sha256(logits.tobytes()).hexdigest()[:16]}"
    with atomic_path(folder / _LOGITS) as temporary:
        np.save(temporary, logits)
    return folder


def check_result_is_not_replaced(
    output: Path,
    subject: Any,
    settings: Any,
    result: str = RESULT,
    model: type[Settings] = EvaluationSettings,
) -> None:
    """Refuse to overwrite the result of another evaluation.

    Args:
        subject, settings: the JSON values of this evaluation's result.
        result: file of the result in `output`.
        model: of the settings.

    Raises:
        UserError: `output` holds a result of another subject or of other settings.
    """
    if not (output / result).is_file():
        return
    found = read_json(output / result, "pyrobust evaluate")
    with described_by(output / result, "pyrobust evaluate"):
        # Settings that an earlier version did not have had what is their default now.
        before = parse_settings(model, found["settings"], output / result)
        found["settings"] = before.model_dump(mode="json")
        theirs = dict(_leaves({key: found.get(key) for key in ("subject", "settings")}))
    ours = dict(_leaves(json.loads(json.dumps({"subject": subject, "settings": settings}))))
    different = [key for key in ours if theirs.get(key) != ours[key]]
    if different:
        words = ", ".join(f"{key} {theirs.get(key)} instead of {ours[key]}" for key in different)
        raise UserError(
            f"{output} contains the result of another evaluation ({words}); use another folder "
            f"with --output, or delete {output / result}"
        )


def check_result_is_a_sample(output: Path) -> None:
    """Refuse to overwrite a result of all images with that of a sample of them.

    Raises:
        UserError: `output` holds a result of all images.
    """
    if not (output / RESULT).is_file():
        return
    found = read_json(output / RESULT, "pyrobust evaluate")
    with described_by(output / RESULT, "pyrobust evaluate"):
        anytime, count = found.get("anytime"), found["num_images"]
        is_whole = anytime is None or count >= anytime["population"]
    if is_whole:
        raise UserError(
            f"{output} contains the result of all {count:,} images, which a budget "
            "or a width may replace by one of fewer; omit both to repeat it, or use another "
            "folder with --output"
        )


def _leaves(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield (name, value) of all values in nested dictionaries, by the innermost key."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value)
        else:
            yield key, value


def _equal(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    if one.shape != other.shape or not np.array_equal(np.isfinite(one), np.isfinite(other)):
        return False
    finite = np.isfinite(one)
    largest = np.abs(one[finite]).max(initial=0.0)
    return bool((np.abs(one[finite] - other[finite]) <= _EQUAL * largest).all())

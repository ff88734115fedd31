"""Certificates below and attacks above: what is known of each image (`certificates.json`)."""

import hashlib
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pyrobust import certificates
from pyrobust.attacks import LogitsFn
from pyrobust.attacks.threat_model import NO_CLASS
from pyrobust.certificates.certify import BoundMethod, certified_margins
from pyrobust.certificates.graph import Graph
from pyrobust.certificates.graph_reader import graph_of
from pyrobust.certificates.smoothing import Smoothing, smoothed
from pyrobust.config.certificates import CertifySettings
from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.cost import write_cost
from pyrobust.errors import UserError
from pyrobust.evaluation.attack_stages import judge_and_search_passes
from pyrobust.evaluation.attack_suites import main_cascade
from pyrobust.evaluation.cascade import CascadeRun
from pyrobust.evaluation.describe_certificates import RESULT, STATUSES
from pyrobust.evaluation.intervals import wilson_interval
from pyrobust.evaluation.logits_model import LogitsModel
from pyrobust.evaluation.model_under_test import Subject
from pyrobust.evaluation.outcomes import Outcome, names_of
from pyrobust.evaluation.saved_state import (
    check_result_is_not_replaced,
    fingerprint,
    state_folder,
)
from pyrobust.files import (
    atomic_path,
    computed_again_if_damaged,
    read_json,
    sha256_of,
    write_json,
)
from pyrobust.memory import keep_freed_memory
from pyrobust.ops.precision import exact_kernels
from pyrobust.progress import counting

logger = logging.getLogger(__name__)

ROWS, STATE = "certificates.parquet", "state"
# The graph's logits must be the model's up to this share of the largest.
_EQUAL = 1e-3
# Two readings of the same code agree up to this share, if their sums run in another order.
_STEADY = 1e-12


def certify(subject: Subject, output: Path, settings: CertifySettings) -> dict[str, Any]:
    """Certify and attack the images; write `certificates.parquet` and `certificates.json`.

    An image is *certified* if no perturbation breaks it, *broken* if it is misclassified or a
    perturbation breaks it, and else *undecided*. A run that was killed resumes from its state,
    which lies under `output`/state until the end.

    Returns:
        what `certificates.json` holds.

    Raises:
        UserError: the method has no bounds for this model, `output` holds another result, or an
            attack breaks a certified image.
    """
    started = time.monotonic()
    keep_freed_memory()
    values = settings.model_dump(mode="json")
    check_result_is_not_replaced(output, subject.identity, values, RESULT, CertifySettings)
    count, batches = subject.batches(settings.num_images, settings.batch_size)
    with exact_kernels():
        x, _ = subject.load(range(min(settings.pass_size, count)))
        logits_fn, _ = judge_and_search_passes(subject.logits_fn, "float32", settings.pass_size, x)
        identity = [subject.identity, values, _sha256_of_bounds()]
        folder = state_folder(output / STATE, identity, fingerprint(logits_fn, x))
        if settings.method == "smoothing":
            found, margins = _smoothed(subject, logits_fn, settings, batches, folder)
            status = _status_of_smoothing(found, margins, subject, count)
            columns = {
                "smoothed_prediction": pa.array(found),
                "certified_radius": pa.array(margins),
            }
            clean = found == subject.images.labels[:count]
            stages: list[dict[str, Any]] = []
        else:
            graph, difference = model_graph(subject.logits_fn, x)
            margins = _margins(subject, graph, difference, settings, batches, folder)
            outcome, names = _attack(subject, logits_fn, settings, batches, folder)
            clean = outcome.clean_correct
            status = np.where(outcome.standing, np.where(margins > 0, 0, 1), 2)
            _check_soundness(margins, outcome)
            columns = {
                "margin_bound": pa.array(margins),
                "broken_by": names_of(outcome.broken_by, names),
            }
            stages = [
                {"name": name, "num_broken": int((outcome.broken_by == i).sum())}
                for i, name in enumerate(names)
            ]
    table = {
        "image": pa.array(np.arange(count)),
        "label": pa.array(subject.images.labels[:count]),
        "clean_correct": pa.array(clean),
        "status": pa.array([STATUSES[place] for place in status]),
        **columns,
    }
    with atomic_path(output / ROWS) as temporary:
        pq.write_table(pa.table(table), temporary)
    seconds = time.monotonic() - started
    write_cost(output / "cost.json", seconds, subject.device, count / max(seconds, 1e-9))
    result = {
        "dataset": subject.images.name,
        "split": subject.images.split,
        "subject": subject.identity,
        **subject.threat_settings.model_dump(mode="json"),
        "settings": values,
        "num_images": count,
        "clean_accuracy": float(clean.mean()),
        "stages": stages,
        **{name: _share(status == place) for place, name in enumerate(STATUSES)},
    }
    write_json(output / RESULT, result)
    shutil.rmtree(output / STATE)
    return read_json(output / RESULT, "pyrobust certify")


class _Normalized(nn.Module):
    """A network on pixels, in a form that torch.fx reads."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: LogitsModel) -> None:
        super().__init__()
        self.register_buffer("mean", model.mean)
        self.register_buffer("std", model.std)
        self.network = model.network

    def forward(self, x: Tensor) -> Tensor:
        """Return the network's answer to normalised images."""
        return self.network((x - self.mean) / self.std)  # type: ignore[no-any-return]


def model_graph(model: LogitsFn, x: Tensor) -> tuple[Graph, float]:
    """Return the graph of a model in float64, and the largest difference of their logits.

    Args:
        x: (N, C, H, W), images on which the graph is compared with the model.

    Raises:
        UserError: the model has layers without bounds, computes in less than float32, returns
            something else than its logits, or other logits at every pass.
    """
    assert isinstance(model, LogitsModel)
    low = {p.dtype for p in model.parameters()} - {torch.float32, torch.float64}
    if low:
        raise UserError(
            f"the model computes in {', '.join(map(str, low))}, whose rounding no bound covers; "
            "convert it to float32, or use --method smoothing"
        )
    network = _Normalized(model).to(x.device)
    graph = graph_of(network, x[:1])
    with torch.no_grad():
        ours, theirs = graph(x.double()), model(x).double()
        # Reading runs the code too: what it draws, or writes into a buffer, is a constant of the
        # graph, and another one once the model has run.
        again = graph_of(network, x[:1])(x.double())
    difference, drift = ((ours - other).abs().max() for other in (theirs, again))
    largest = theirs.abs().max().clamp_min(1)
    if not difference <= _EQUAL * largest:  # also where it is NaN
        raise UserError(
            "the model computes something else than its layers do, so their bounds are not its "
            "own; use --method smoothing"
        )
    if not drift <= _STEADY * largest:
        raise UserError(
            "the model draws random numbers or writes into its own buffers, so its logits change "
            "from pass to pass and no bounds are known; use --method smoothing"
        )
    return graph, float(difference)


def _sha256_of_bounds() -> str:
    """Return the hash of the code that computes bounds, which saved bounds depend on."""
    files = sorted(path for folder in certificates.__path__ for path in Path(folder).glob("*.py"))
    return hashlib.sha256("".join(map(sha256_of, files)).encode()).hexdigest()


def _margins(
    subject: Subject,
    graph: Graph,
    difference: float,
    settings: CertifySettings,
    batches: list[range],
    folder: Path,
) -> NDArray[np.float64]:
    """Return the bound of each image's margin."""
    method: BoundMethod = settings.method  # type: ignore[assignment]

    def bound(rows: range) -> tuple[NDArray[Any], ...]:
        x, labels = subject.load(rows)
        margins = certified_margins(graph, x, labels, subject.threat, method, difference)
        return (margins.cpu().numpy(),)

    return _by_batch("bounds", bound, batches, folder)[0]


def _smoothed(
    subject: Subject,
    logits_fn: LogitsFn,
    settings: CertifySettings,
    batches: list[range],
    folder: Path,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the prediction of the smoothed classifier and its radius for each image."""
    how = Smoothing(
        settings.deviation, settings.selection_samples, settings.samples, settings.alpha
    )

    def estimate(rows: range) -> tuple[NDArray[Any], ...]:
        x, _ = subject.load(rows)
        ids = torch.arange(rows.start, rows.stop, device=x.device)
        found = smoothed(logits_fn, x, ids, how, settings.seed)
        return found.prediction, found.radius

    predictions, radii = _by_batch("smoothing", estimate, batches, folder)
    return predictions, radii


def _by_batch(
    name: str,
    compute: Callable[[range], tuple[NDArray[Any], ...]],
    batches: list[range],
    folder: Path,
) -> list[NDArray[Any]]:
    """Return the columns that `compute(rows)` gives, joined; saved batches are read."""
    parts = []
    with counting(sum(map(len, batches)), "certify", "images") as advance:
        for rows in batches:
            path = folder / f"{name}-{rows.start:08d}.npz"
            columns = _saved_columns(path)
            if columns is None:
                columns = compute(rows)
                with atomic_path(path) as temporary:
                    np.savez(temporary, *columns)
            parts.append(columns)
            advance(len(rows))
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def _saved_columns(path: Path) -> tuple[NDArray[Any], ...] | None:
    """Return what `_by_batch` saved of a batch; None if it is missing or damaged."""
    if not path.exists():
        return None
    with computed_again_if_damaged(path), np.load(path, allow_pickle=False) as saved:
        return tuple(saved[key] for key in sorted(saved.files))
    return None


def _attack(
    subject: Subject,
    logits_fn: LogitsFn,
    settings: CertifySettings,
    batches: list[range],
    folder: Path,
) -> tuple[Outcome, list[str]]:
    """Attack all images, certified ones too, and return the outcome and the stages' names."""
    attacks = EvaluationSettings(attack=settings.attack, seed=settings.seed)
    cascade = main_cascade(attacks, subject.threat, subject.num_classes)
    run = CascadeRun(logits_fn, logits_fn, subject.threat, subject.load, folder, False)
    total = sum(map(len, batches)) * len(cascade.stages)
    with counting(total, "attack", "images × stages") as advance:
        outcome = Outcome.joined(run.attack(cascade, rows, advance) for rows in batches)
    return outcome, [stage.name for stage in cascade.stages]


def _check_soundness(margins: NDArray[np.float64], outcome: Outcome) -> None:
    wrong = np.flatnonzero((margins > 0) & ~outcome.standing)
    if len(wrong):
        raise UserError(
            f"image {wrong[0]} is certified, yet an attack breaks it: either the model's float32 "
            "rounding exceeds the allowance of its certificate, or its bound is wrong, which would "
            "be a bug in pyrobust; certify the model in float64 (model.double()) to find out"
        )


def _status_of_smoothing(
    prediction: NDArray[np.int64], radius: NDArray[np.float64], subject: Subject, count: int
) -> NDArray[np.int64]:
    """Return 0 for certified, 1 for undecided (also abstentions) and 2 for broken."""
    right = prediction == subject.images.labels[:count]
    certified = right & (radius > subject.threat.largest_distance)
    status: NDArray[np.int64] = np.where(certified, 0, 1)
    status[~right & (prediction != NO_CLASS)] = 2
    return status


def _share(which: NDArray[np.bool_]) -> dict[str, Any]:
    count = int(which.sum())
    return {
        "num_images": count,
        "share": count / len(which),
        "interval": list(wilson_interval(count, len(which))),
    }

"""Attack images in random order until time, precision or a signal ends the evaluation.

What was attacked until then is a sample of all images without replacement, in an order that was
fixed before. `anytime_interval` is valid for it, whatever ended the evaluation.
"""

import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pyrobust.attacks import FixedPasses, LogitsFn
from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.config.fields import is_number
from pyrobust.data.permutation import permute
from pyrobust.errors import UserError
from pyrobust.evaluation.attack_stages import Cascade
from pyrobust.evaluation.cascade import CascadeRun
from pyrobust.evaluation.confidence_sequence import anytime_interval
from pyrobust.evaluation.outcomes import Outcome
from pyrobust.progress import counting

Reason = Literal["all images", "budget", "width", "signal"]

# Distinguishes the order of images from other permutations with the same seed.
_STREAM = 1905
# Images of the first batch; each later one doubles what was attacked, up to a pass.
_FIRST = 16
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Limits:
    """When an evaluation ends before all images are attacked.

    Args:
        budget: seconds from the call of `evaluate`; None for no limit.
        width: of the interval of robust accuracy, in percentage points; None for no limit.
    """

    budget: float | None = None
    width: float | None = None

    @classmethod
    def of(cls, budget: str | float | None, width: float | None) -> "Limits | None":
        """Return what a user states, such as ("30m", 1.0); None where nothing is stated.

        Raises:
            UserError: a budget that is no duration, or a limit that is not positive.
        """
        if budget is None and width is None:
            return None
        if width is not None and not (is_number(width) and 0 < width <= 100):
            raise UserError(
                f"until_width is {width!r}, expected percentage points, above 0 and at most 100"
            )
        return cls(None if budget is None else _seconds(budget), width)


def _seconds(text: str | float) -> float:
    """Return the seconds of "1h30m", "90s" or 90."""
    if not isinstance(text, str) and not is_number(text):
        raise UserError(f"budget is {text!r}, expected a duration such as 30m, or seconds")
    parts = re.findall(r"([0-9]*\.?[0-9]+)([smh])", str(text))
    if isinstance(text, str) and (not parts or "".join(map("".join, parts)) != text):
        raise UserError(f"budget is '{text}', expected a duration such as 30m, 1h30m or 90s")
    seconds = sum(float(n) * _UNITS[u] for n, u in parts) if isinstance(text, str) else text
    if not seconds > 0:
        raise UserError(f"budget is {text}, expected more than no time")
    return float(seconds)


class _Stopped(BaseException):
    """Raised by the next forward pass once an evaluation must end; no attack catches it."""


class _Watch:
    """Knows when to stop; a signal or the time may come in the middle of an attack."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.signalled = False

    def check(self) -> None:
        if self.signalled or time.monotonic() >= self.deadline:
            raise _Stopped

    @property
    def reason(self) -> Reason:
        return "signal" if self.signalled else "budget"


@dataclass(frozen=True)
class _Watched:
    """A logits function that stops an attack between two passes."""

    logits_fn: LogitsFn
    watch: _Watch

    def __call__(self, x: Tensor) -> Tensor:
        self.watch.check()
        return self.logits_fn(x)


@dataclass(frozen=True)
class Sample:
    """The images that were attacked.

    Attributes:
        ids: (n,) int64, ascending.
        outcome: theirs, in this order.
        summary: what `evaluation.json` holds under `anytime`.
        finished: all images were attacked.
    """

    ids: NDArray[np.int64]
    outcome: Outcome
    summary: dict[str, Any]
    finished: bool


def sample_order(count: int, seed: int) -> NDArray[np.int64]:
    """Return the ids of `count` images in the order in which they are attacked."""
    return permute(np.arange(count), count, seed, _STREAM)


def attack_until(
    run: CascadeRun,
    cascade: Cascade,
    count: int,
    settings: EvaluationSettings,
    limits: Limits,
    started: float,
) -> Sample:
    """Attack the first `count` images in random order, until a limit or a signal.

    Args:
        run: its `load` takes ids in any order.
        settings: their seed orders the images; no batch is larger than their pass size.
        started: when `evaluate` was called, by time.monotonic.

    Raises:
        UserError: the end came before the first images were through all stages.
    """
    order = sample_order(count, settings.seed)
    watch = _Watch(started + (np.inf if limits.budget is None else limits.budget))
    own = _watched(run, watch, order)
    outcomes: list[Outcome] = []
    history: list[dict[str, Any]] = []
    reason: Reason = "all images"
    with _noting_signals(watch), counting(count, "attack", "images") as advance:
        try:
            for rows in _batches(count, settings.pass_size):
                watch.check()
                outcomes.append(own.attack(cascade, rows, lambda _: None))
                history.append(_moment(outcomes, count, history))
                low, high = history[-1]["interval"]
                words = f"robust {100 * history[-1]['robust_accuracy']:.1f} %"
                advance(len(rows), f"{words} [{100 * low:.1f}, {100 * high:.1f}] of all images")
                if limits.width is not None and 100 * (high - low) <= limits.width:
                    reason = "width" if rows.stop < count else "all images"
                    break
        except _Stopped:
            reason = watch.reason
    if not outcomes:
        more = " with a larger --budget" if reason == "budget" else ""
        raise UserError(
            f"the {reason} ended the evaluation before any image had passed all attacks; run the "
            f"same command{more}: it resumes"
        )
    joined = Outcome.joined(outcomes)
    attacked = order[: len(joined.broken_by)]
    return Sample(
        ids=np.sort(attacked),
        outcome=joined.at(np.argsort(attacked)),
        summary={
            "population": count,
            "stopped_by": reason,
            "clean_interval": anytime_interval(
                int(joined.clean_correct.sum()), len(attacked), count
            ),
            "robust_interval": history[-1]["interval"],
            "last_stage": _last_stage(cascade, joined),
            "history": history,
        },
        finished=len(attacked) == count,
    )


def _watched(run: CascadeRun, watch: _Watch, order: NDArray[np.int64]) -> CascadeRun:
    def watched(passes: LogitsFn) -> LogitsFn:
        assert isinstance(passes, FixedPasses)
        return replace(passes, logits_fn=_Watched(passes.logits_fn, watch))

    return replace(
        run, logits_fn=watched(run.logits_fn), search_fn=watched(run.search_fn), order=order
    )


def _batches(count: int, most: int) -> Iterator[range]:
    """Yield places of the order: small batches first, so that a result is there early.

    They depend on nothing that a resumed run may not share, such as the memory of a GPU.
    """
    start = 0
    while start < count:
        size = min(max(start, _FIRST), most)
        yield range(start, min(start + size, count))
        start += size


def _moment(outcomes: list[Outcome], count: int, history: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what is known after one more batch."""
    attacked = sum(len(outcome.broken_by) for outcome in outcomes)
    standing = sum(int(outcome.standing.sum()) for outcome in outcomes)
    before = history[-1]["seconds"] if history else 0.0
    return {
        "num_images": attacked,
        "seconds": round(before + float(outcomes[-1].seconds.sum()), 3),
        "robust_accuracy": standing / attacked,
        "interval": anytime_interval(standing, attacked, count),
    }


def _last_stage(cascade: Cascade, outcome: Outcome) -> dict[str, Any]:
    """Return what the last stage still found, a hint at what a longer attack might find."""
    broken = int((outcome.broken_by == len(cascade.stages) - 1).sum())
    return {
        "name": cascade.stages[-1].name,
        "num_attacked": int(outcome.standing.sum()) + broken,
        "num_broken": broken,
    }


@contextmanager
def _noting_signals(watch: _Watch) -> Iterator[None]:
    """Let the first signal of a kind end the evaluation with its result, for the block.

    A second one has the effect that it had before.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone gets signals
        yield
        return

    def note(number: int, frame: FrameType | None) -> None:
        watch.signalled = True
        signal.signal(number, before[signal.Signals(number)])

    before: dict[signal.Signals, Any] = {n: signal.getsignal(n) for n in _SIGNALS}
    try:
        for number in _SIGNALS:
            signal.signal(number, note)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Schedules as closed forms of the step, so that a resumed run needs no scheduler state.

Steps count from 0; the update of step t uses the values at t.
"""

import math
from dataclasses import dataclass

from pyrobust import ops

# OneCycleLR's defaults, which wang23 uses: start at rate / 25, end at a 10,000th of the start,
# and the momentum moves the other way by 0.05 around its base.
_CYCLE_START = 25.0
_CYCLE_END = 1e4
_CYCLE_MOMENTUM = 0.05


def count_steps(epochs: float, epoch_size: int, batch_size: int) -> int:
    """Return the steps of a run: 19,531 for 400 epochs of 50,000 images in batches of 1,024."""
    return max(1, int(epochs * epoch_size / batch_size))


@dataclass(frozen=True)
class Schedule:
    """Learning rate and momentum of every step.

    Args:
        kind: cosine (linear warm-up from 0, then to 0) or cyclic (one cosine cycle).
        rate: the highest learning rate.
        momentum: constant with cosine; the middle of the cycle with cyclic.
        warmup: share of the steps on which the rate rises.
        steps_per_epoch: for what the log calls an epoch.
    """

    kind: str
    rate: float
    momentum: float
    warmup: float
    total_steps: int
    steps_per_epoch: float

    def log_facts(self, step: int) -> dict[str, float]:
        """Return what a line of the log after `step` updates says of the schedule."""
        return {
            "epoch": step / self.steps_per_epoch,
            "learning_rate": self.learning_rate(step),
        }

    def learning_rate(self, step: int) -> float:
        """Return the rate of this step."""
        if self.kind == "cyclic":
            start = self.rate / _CYCLE_START
            return self._cycle(step, start, self.rate, start / _CYCLE_END)
        warmup_steps = int(self.warmup * self.total_steps)
        if step < warmup_steps:
            return self.rate * step / warmup_steps
        progress = (step - warmup_steps) / max(1, self.total_steps - warmup_steps)
        return self.rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    def momentum_at(self, step: int) -> float:
        """Return the momentum of this step."""
        if self.kind == "cosine":
            return self.momentum
        high, low = self.momentum + _CYCLE_MOMENTUM, self.momentum - _CYCLE_MOMENTUM
        return self._cycle(step, high, low, high)

    def _cycle(self, step: int, first: float, middle: float, last: float) -> float:
        turn = max(1.0, self.warmup * self.total_steps - 1)
        if step <= turn:
            return _cosine(first, middle, step / turn)
        return _cosine(middle, last, (step - turn) / max(1.0, self.total_steps - 1 - turn))


def _cosine(first: float, last: float, progress: float) -> float:
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def scaled_rate(learning_rate: float, batch_size: int) -> float:
    """Return the rate for this batch size: linear above 256 images (Goyal et al. 2017)."""
    return learning_rate * max(batch_size / 256, 1.0)


def averaging_decay_at(step: int, decay: float, start: int) -> float:
    """Return the decay of the weight average: min(decay, (1 + t) / (10 + t)), t = step - start.

    Before `start` it is 0: the average is a copy. With decay 0.995 the ramp ends at t = 1790.
    """
    return ops.averaging_ramp(step - start, decay) if step >= start else 0.0

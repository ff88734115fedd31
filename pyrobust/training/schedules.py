"""Schedules as closed forms of the step, so that a resumed run needs no scheduler state.

Steps count from 0; the update of step t uses the values at t.
"""

import math
from dataclasses import dataclass
from typing import Literal, Self

from pyrobust import ops
from pyrobust.config.training import LabellerSettings, TrainSettings

# OneCycleLR's defaults, which wang23 uses: start at rate / 25, end at a 10,000th of the start,
# and the momentum moves the other way by 0.05 around its base.
_CYCLE_START = 25.0
_CYCLE_END = 1e4
_CYCLE_MOMENTUM = 0.05


def count_steps(settings: TrainSettings | LabellerSettings) -> int:
    """Return the steps of a run: 19,531 for 400 epochs of 50,000 images in batches of 1,024."""
    return max(1, int(settings.epochs * settings.epoch_size / settings.batch_size))


@dataclass(frozen=True)
class Schedule:
    """Learning rate, momentum and decay of the weight average of every step.

    Args:
        kind: cosine (linear warm-up from 0, then to 0) or cyclic (one cosine cycle).
        rate: the highest learning rate.
        momentum: constant with cosine; the middle of the cycle with cyclic.
        warmup: share of the steps on which the rate rises.
        steps_per_epoch: for what the log calls an epoch.
        averaging_tau: highest decay of the weight average (section 4, tau).
        averaging_start: first step whose average is more than a copy.
    """

    kind: Literal["cosine", "cyclic"]
    rate: float
    momentum: float
    warmup: float
    total_steps: int
    steps_per_epoch: float
    averaging_tau: float = 0.995
    averaging_start: int = 0

    @classmethod
    def of(cls, settings: TrainSettings | LabellerSettings, total_steps: int) -> Self:
        """Return the schedule that a training's settings describe."""
        kind: Literal["cosine", "cyclic"] = "cosine"
        averaging_start = 0
        if isinstance(settings, TrainSettings):
            kind = settings.schedule
            averaging_start = int(settings.averaging_start * total_steps)
        return cls(
            kind,
            scaled_rate(settings.learning_rate, settings.batch_size),
            settings.momentum,
            settings.warmup,
            total_steps,
            settings.epoch_size / settings.batch_size,
            settings.averaging_decay,
            averaging_start,
        )

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

    def averaging_decay(self, step: int) -> float:
        """Return the decay of the weight average: min(tau, (1 + t) / (10 + t)), t from its start.

        Before the start it is 0: the average is a copy. With tau 0.995 the ramp ends at t = 1790.
        """
        t = step - self.averaging_start
        return ops.averaging_ramp(t, self.averaging_tau) if t >= 0 else 0.0

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

"""How much noise each step of a DDPM holds: x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) ε.

Steps count from 0, the least noise, to T - 1.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from pyrobust.errors import UserError

# Ho et al., section 4.
STEPS, FIRST_BETA, LAST_BETA = 1000, 1e-4, 0.02


@dataclass(frozen=True)
class NoiseSchedule:
    """Variances of the noise that each step adds.

    Attributes:
        betas: (T,) float64.
    """

    betas: np.ndarray

    @classmethod
    def linear(cls, steps: int = STEPS, first: float = FIRST_BETA, last: float = LAST_BETA) -> Self:
        """Return betas that rise linearly."""
        return cls(np.linspace(first, last, steps))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return the schedule of a scheduler's configuration in `diffusers`.

        Raises:
            UserError: the model does not predict ε, or its betas are not linear.
        """
        for key, expected in (("beta_schedule", "linear"), ("prediction_type", "epsilon")):
            if config.get(key, expected) != expected or config.get("trained_betas") is not None:
                raise UserError(
                    f"the scheduler's {key} is {config.get(key)!r}, expected {expected!r} (and no "
                    "trained_betas): this model cannot be sampled here"
                )
        return cls.linear(
            config.get("num_train_timesteps", STEPS),
            config.get("beta_start", FIRST_BETA),
            config.get("beta_end", LAST_BETA),
        )

    def to_config(self) -> dict[str, Any]:
        """Return what `from_config` reads."""
        return {
            "num_train_timesteps": len(self.betas),
            "beta_start": float(self.betas[0]),
            "beta_end": float(self.betas[-1]),
            "beta_schedule": "linear",
            "prediction_type": "epsilon",
        }

    @property
    def num_steps(self) -> int:
        """T."""
        return len(self.betas)

    @property
    def alpha_bars(self) -> np.ndarray:
        """Share of the image's variance that each step keeps, (T,) float64."""
        return np.asarray(np.cumprod(1 - self.betas))

    @property
    def half_log_snrs(self) -> np.ndarray:
        """λ = log(signal / noise) = ½ log(alpha_bar / (1 - alpha_bar)), (T,), falling."""
        return np.asarray(0.5 * np.log(self.alpha_bars / (1 - self.alpha_bars)))

    def evenly_in_time(self, count: int) -> np.ndarray:
        """Return at most `count` steps, falling, evenly spread, from T - 1 on."""
        steps = np.arange(self.num_steps, 0, -self.num_steps / count).round().astype(np.int64) - 1
        return np.unique(steps.clip(0))[::-1]

    def evenly_in_log_snr(self, count: int) -> np.ndarray:
        """Return at most `count` steps, falling, from T - 1 to 0: those nearest to an even λ grid.

        Lu et al. found this spacing best for pixels; the network sees no noise level that it was
        not trained on.
        """
        snrs = self.half_log_snrs
        grid = np.linspace(snrs[-1], snrs[0], count)
        nearest = np.abs(snrs[None] - grid[:, None]).argmin(axis=1)
        return np.unique(nearest)[::-1]

"""Robust accuracy under AA+MT at further radii: a robustness curve."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pyrobust.attacks import ThreatModel
from pyrobust.config import parse_epsilon
from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.config.fields import Norm
from pyrobust.evaluation.aa_mt import aa_mt
from pyrobust.evaluation.attack_stages import Cascade
from pyrobust.evaluation.cascade import CascadeRun
from pyrobust.evaluation.outcomes import UNBROKEN, Outcome


@dataclass(frozen=True)
class Radii:
    """The radii of a curve and the attacks at them.

    Args:
        norm: of the perturbation sets.
        epsilons: as the user wrote them, ascending; the evaluation's own is among them.
        cascades: AA+MT at each of them.
        own: index of the evaluation's own radius, where its result belongs.
    """

    norm: Norm
    epsilons: tuple[str, ...]
    cascades: tuple[Cascade, ...]
    own: int

    @classmethod
    def of(cls, settings: EvaluationSettings, norm: Norm, epsilon: str, num_classes: int) -> Self:
        """Return the radii of `settings.curve` and `epsilon`, equal ones once."""
        by_value = {parse_epsilon(text): text for text in (*settings.curve, epsilon)}
        ascending = sorted(by_value)
        return cls(
            norm,
            tuple(by_value[value] for value in ascending),
            tuple(
                replace(aa_mt(settings, ThreatModel(norm, value), num_classes), name=f"radius-{i}")
                for i, value in enumerate(ascending)
            ),
            ascending.index(parse_epsilon(epsilon)),
        )

    @property
    def num_stages(self) -> int:
        """Stages that are run besides those of the evaluation itself."""
        return sum(len(c.stages) for i, c in enumerate(self.cascades) if i != self.own)


@dataclass(frozen=True)
class Curve:
    """What became of N images.

    Attributes:
        broken_at: (N,), place of the smallest radius that broke the image, or UNBROKEN.
        seconds: spent on all radii but the evaluation's own.
    """

    radii: Radii
    broken_at: NDArray[np.int64]
    seconds: float

    @classmethod
    def joined(cls, curves: Sequence[Self]) -> Self:
        """Return the curve of all images, in order."""
        broken_at = np.concatenate([curve.broken_at for curve in curves])
        return cls(curves[0].radii, broken_at, sum(curve.seconds for curve in curves))

    def summary(self, clean_correct: NDArray[np.bool_]) -> list[dict[str, Any]]:
        """Return the robust images at each radius, ascending."""
        broken = self.broken_at != UNBROKEN
        points = []
        for place, epsilon in enumerate(self.radii.epsilons):
            standing = int((clean_correct & ~(broken & (self.broken_at <= place))).sum())
            points.append(
                {
                    "epsilon": epsilon,
                    "num_standing": standing,
                    "robust_accuracy": standing / len(clean_correct),
                }
            )
        return points


def attack_radii(
    run: CascadeRun, radii: Radii, rows: range, own: Outcome, advance: Callable[[int], None]
) -> Curve:
    """Attack the images at `rows` from the smallest radius on, each until one breaks it.

    A point in a ball lies in every larger one. So only the images that fell at the evaluation's
    own radius are attacked at smaller ones, and only robust ones at larger radii; the curve
    falls from radius to radius and passes through the evaluation's result.

    Args:
        own: what became of the images at the evaluation's own radius.
        advance: called with the number of images that completed one more stage.
    """
    fell = own.broken_by != UNBROKEN
    broken_at = np.full(len(rows), UNBROKEN)
    seconds = 0.0
    for place, cascade in enumerate(radii.cascades):
        unbroken = broken_at == UNBROKEN
        if place == radii.own:
            broken = fell
        else:
            among = unbroken & (fell if place < radii.own else ~fell)
            threat = ThreatModel(radii.norm, parse_epsilon(radii.epsilons[place]))
            here = replace(run, threat=threat, keep_adversarial=False)
            outcome = here.attack(cascade, rows, advance, among)
            broken = outcome.broken_by != UNBROKEN
            seconds += float(outcome.seconds.sum())
        broken_at[unbroken & broken] = place
    return Curve(radii, broken_at, seconds)

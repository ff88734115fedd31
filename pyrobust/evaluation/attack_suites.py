"""The attacks of an evaluation by name, and single attacks by name."""

from typing import Protocol

from torch import Tensor

from pyrobust.attacks import LogitsFn, MultitargetedSettings, ThreatModel, pgd, pgd40
from pyrobust.config.attacks import ATTACKS, METHODS, SINGLE_ATTACKS, SingleAttack
from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.errors import UserError
from pyrobust.evaluation.attack_stages import (
    Cascade,
    Stage,
    apgd_stage,
    multitargeted_stage,
    stage_seed,
)
from pyrobust.evaluation.autoattack import autoattack
from pyrobust.imports import import_object, named_object
from pyrobust.own_code import running


class CustomAttack(Protocol):
    """An attack of the user's own, named as MODULE:NAME."""

    def __call__(
        self,
        logits_fn: LogitsFn,
        x: Tensor,
        labels: Tensor,
        sample_ids: Tensor,
        threat: ThreatModel,
        seed: int,
    ) -> Tensor:
        """Return a point for each image, of the shape of x (N, C, H, W).

        A point counts only if it lies in the ball and in [0, 1] and is misclassified; both are
        checked afterwards. Draw random numbers from (seed, sample id) alone, such as by
        `pyrobust.ops.random_start`, so that results do not depend on the batch.
        """


def main_cascade(settings: EvaluationSettings, threat: ThreatModel, num_classes: int) -> Cascade:
    """Return the stages of `settings.attack`."""
    attack = ATTACKS.get(settings.attack)
    if attack is not None:
        cascade: Cascade = named_object(attack.implementation)(settings, threat, num_classes)
        return cascade
    return Cascade(
        "custom", (_custom_stage(settings.attack, threat, stage_seed(settings.seed, 0)),)
    )


def autoattack_suite(
    settings: EvaluationSettings, threat: ThreatModel, num_classes: int
) -> Cascade:
    """Return AutoAttack."""
    return autoattack(threat, num_classes, settings.seed)


def fast_suite(settings: EvaluationSettings, threat: ThreatModel, num_classes: int) -> Cascade:
    """Return the two APGD stages of AutoAttack."""
    return Cascade("fast", autoattack(threat, num_classes, settings.seed).stages[:2])


def pgd40_suite(settings: EvaluationSettings, threat: ThreatModel, num_classes: int) -> Cascade:
    """Return PGD-40."""
    return Cascade("pgd40", (_pgd40_stage(threat, stage_seed(settings.seed, 0)),))


def stage_of(
    method: str,
    threat: ThreatModel,
    num_classes: int,
    num_steps: int | None,
    num_restarts: int,
    seed: int,
) -> Stage:
    """Return one attack by its name, one of `METHODS` or MODULE:NAME.

    Args:
        num_steps: None takes the method's own number.

    Raises:
        UserError: the method is unknown, or takes no such number of steps.
    """
    attack = SINGLE_ATTACKS.get(method, SingleAttack(method))
    if attack.loss is not None:
        steps = num_steps or 100
        return apgd_stage(method, attack.loss, threat, num_classes, num_restarts, steps, seed)
    if attack.kind == "multitargeted":
        settings = MultitargetedSettings(threat, num_steps or 200, num_restarts)
        return multitargeted_stage(method, settings, num_classes, seed)
    if attack.kind == "pgd40" or ":" in method:
        allowed = (None, 40) if attack.kind else (None,)
        if num_steps not in allowed or num_restarts != 1:
            raise UserError(f"{method} takes no steps or restarts: leave both out")
        return _pgd40_stage(threat, seed) if attack.kind else _custom_stage(method, threat, seed)
    raise UserError(
        f"unknown method '{method}'; choose one of: {', '.join(METHODS)}, or MODULE:NAME"
    )


def import_attack(name: str) -> CustomAttack:
    """Return the attack MODULE:NAME.

    Raises:
        UserError: there is none.
    """
    attack: CustomAttack = import_object(name, "attack", "my_attacks:jitter")
    return attack


def _pgd40_stage(threat: ThreatModel, seed: int) -> Stage:
    settings = pgd40(threat)

    def run(logits_fn: LogitsFn, x: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
        return pgd(logits_fn, x, labels, ids, settings, seed)

    return Stage("pgd40", "PGD on margin, 1 × 40 steps", seed, run)


def _custom_stage(name: str, threat: ThreatModel, seed: int) -> Stage:
    attack = import_attack(name)

    def run(logits_fn: LogitsFn, x: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
        with running(name):
            x_adv = attack(logits_fn, x, labels, ids, threat, seed)
        if not isinstance(x_adv, Tensor) or x_adv.shape != x.shape:
            found = tuple(x_adv.shape) if isinstance(x_adv, Tensor) else type(x_adv).__name__
            raise UserError(f"attack {name} returned {found}, expected points of {tuple(x.shape)}")
        return x_adv.detach().to(x)

    return Stage("custom", name, seed, run)

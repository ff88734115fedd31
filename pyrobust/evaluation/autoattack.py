"""AutoAttack, standard version (Croce and Hein 2020)."""

from torch import Tensor

from pyrobust.attacks import FabSettings, LogitsFn, SquareSettings, ThreatModel, fab, square
from pyrobust.evaluation.attack_stages import Cascade, Stage, apgd_stage, stage_seed

_NUM_STEPS = 100
NUM_QUERIES = 5000
_MAX_TARGETS = 9
# In l1 the public version starts APGD-CE five times, and APGD-T aims at five targets.
_L1_RESTARTS, _L1_TARGETS = 5, 5


def autoattack(threat: ThreatModel, num_classes: int, seed: int) -> Cascade:
    """Return APGD on cross-entropy, targeted APGD, targeted FAB and Square, in this order."""
    seeds = [stage_seed(seed, number) for number in range(10, 14)]
    restarts, targets = (_L1_RESTARTS, _L1_TARGETS) if threat.norm == "l1" else (1, _MAX_TARGETS)
    ce = apgd_stage("apgd_ce", "cross_entropy", threat, num_classes, restarts, _NUM_STEPS, seeds[0])
    targeted = apgd_stage(
        "apgd_t", "targeted_dlr", threat, num_classes, 1, _NUM_STEPS, seeds[1], targets
    )
    fab_t = _fab_stage(FabSettings(threat, _NUM_STEPS, _MAX_TARGETS), num_classes, seeds[2])
    return Cascade("autoattack", (ce, targeted, fab_t, square_stage(threat, seeds[3], NUM_QUERIES)))


def _fab_stage(settings: FabSettings, num_classes: int, seed: int) -> Stage:
    """Return targeted FAB (Croce and Hein 2020b), which draws nothing at random."""
    num_targets = min(settings.num_targets, num_classes - 1)

    def run(logits_fn: LogitsFn, x: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
        return fab(logits_fn, x, labels, settings)

    words = f"FAB, 1 × {settings.num_steps} steps for each of {num_targets} targets"
    return Stage("fab_t", words, seed, run)


def square_stage(threat: ThreatModel, seed: int, num_queries: int) -> Stage:
    """Return Square (Andriushchenko et al. 2020), which uses logits and no gradient."""
    settings = SquareSettings(threat, num_queries)

    def run(logits_fn: LogitsFn, x: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
        return square(logits_fn, x, labels, ids, settings, seed)

    return Stage("square", f"Square, {num_queries:,} queries", seed, run)

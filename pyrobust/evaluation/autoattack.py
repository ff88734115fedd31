"""AutoAttack, standard version (Croce and Hein 2020): our APGD, and the public FAB-T and Square."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pyautoattack.fab_pt import FABAttack_PT
from pyautoattack.square import SquareAttack
from torch import Tensor

from pyrobust.attacks import LogitsFn, ThreatModel
from pyrobust.evaluation.attack_stages import Cascade, Stage, apgd_stage, stage_seed

_NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}
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
    fab = _fab_stage(threat, num_classes, seeds[2])
    square = square_stage(threat, seeds[3], NUM_QUERIES)
    return Cascade("autoattack", (ce, targeted, fab, square))


def _fab_stage(threat: ThreatModel, num_classes: int, seed: int) -> Stage:
    """Return targeted FAB (Croce and Hein 2020b), which draws nothing at random."""
    num_targets = min(_MAX_TARGETS, num_classes - 1)

    def run(logits_fn: LogitsFn, x: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
        attack = FABAttack_PT(
            _finite(logits_fn),
            norm=_NORMS[threat.norm],
            n_restarts=1,
            n_iter=_NUM_STEPS,
            eps=threat.epsilon,
            seed=seed,
            targeted=True,
            device=x.device,
            n_target_classes=num_targets,
        )
        with _global_seed_restored(x.device):
            return attack.perturb(x, labels)  # type: ignore[no-any-return]

    words = f"FAB, 1 × {_NUM_STEPS} steps for each of {num_targets} targets"
    return Stage("fab_t", words, seed, run)


def square_stage(threat: ThreatModel, seed: int, num_queries: int) -> Stage:
    """Return Square (Andriushchenko et al. 2020), which looks at logits and at no gradient."""

    def run(logits_fn: LogitsFn, x: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
        attack = _square(logits_fn, threat, seed, num_queries, x.device)
        with _global_seed_restored(x.device), torch.no_grad():
            return attack.perturb(x, labels)  # type: ignore[no-any-return]

    return Stage("square", f"Square, {num_queries:,} queries", seed, run)


def lowest_of_square(
    logits_fn: LogitsFn, x: Tensor, labels: Tensor, threat: ThreatModel, seed: int, num_queries: int
) -> Tensor:
    """Return the point of the lowest margin that Square visits, for each image.

    Square stops at the first point that is misclassified.

    Args:
        x: (N, C, H, W), correctly classified.
        labels: (N,) int64.
    """
    attack = _square(logits_fn, threat, seed, num_queries, x.device)
    attack.init_hyperparam(x)
    with _global_seed_restored(x.device), torch.no_grad():
        torch.manual_seed(seed)
        _, points = attack.attack_single_run(x.clone(), labels.clone())
    return points  # type: ignore[no-any-return]


def _square(
    logits_fn: LogitsFn, threat: ThreatModel, seed: int, num_queries: int, device: torch.device
) -> "_SharedSquare":
    return _SharedSquare(
        _finite(logits_fn),
        norm=_NORMS[threat.norm],
        n_queries=num_queries,
        eps=threat.epsilon,
        p_init=0.8,
        n_restarts=1,
        seed=seed,
        resc_schedule=False,
        device=device,
    )


def _finite(logits_fn: LogitsFn) -> LogitsFn:
    """Return logits that replace a row with non-finite values by a tie of all classes.

    The public attacks compare margins with 0, and every comparison with NaN is false.
    """

    def logits(x: Tensor) -> Tensor:
        values = logits_fn(x)
        return torch.where(values.isfinite().all(1, keepdim=True), values, 0.0)

    return logits


class _SharedSquare(SquareAttack):  # type: ignore[misc]
    """Square whose random signs are the same for all images, as its windows already are.

    The public version draws signs for the batch as a whole, so that an image's result depends
    on how many other images are still under attack.
    """

    def random_choice(self, shape: list[int]) -> Tensor:
        """Return random signs of `shape`; a shape of four begins with the images."""
        of_one = [1, *shape[1:]] if len(shape) == 4 else shape
        return super().random_choice(of_one).expand(shape)  # type: ignore[no-any-return]


@contextmanager
def _global_seed_restored(device: torch.device) -> Iterator[None]:
    """Keep the seeds that the public attacks set to themselves."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        yield

"""The public APGD, started where ours starts."""

from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from torch import Tensor

from pyrobust.attacks import ApgdSettings, LogitsFn

NORMS = {"linf": "Linf", "l2": "L2"}


def public_walk(
    logits_fn: LogitsFn,
    x: Tensor,
    labels: Tensor,
    start: Tensor,
    settings: ApgdSettings,
    targets: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return which images stand after one public walk from `start`, and their best losses."""
    options = {
        "n_iter": settings.num_steps,
        "norm": NORMS[settings.threat.norm],
        "eps": settings.threat.epsilon,
        "device": x.device,
    }
    if targets is None:
        loss = {"cross_entropy": "ce", "dlr": "dlr"}[settings.loss]
        attack = APGDAttack(logits_fn, loss=loss, **options)
    else:
        attack = APGDAttack_targeted(logits_fn, **options)
        attack.y_target = targets
    attack.init_hyperparam(x)
    _, standing, loss_best, _ = attack.attack_single_run(x, labels, x_init=start)
    return standing.bool(), loss_best

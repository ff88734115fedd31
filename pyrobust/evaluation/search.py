"""The passes of an attack: through the network itself, or through a faster stand-in."""

import torch
from torch import Tensor

from pyrobust.attacks import FixedPasses, LogitsFn, packed_passes
from pyrobust.attacks.threat import is_broken
from pyrobust.config.evaluation import Search
from pyrobust.evaluation.stages import Stage


def judge_and_search_passes(
    network: LogitsFn, search: Search, pass_size: int, x: Tensor
) -> tuple[FixedPasses, FixedPasses]:
    """Return the passes that judge points, and those that attacks search through.

    Args:
        search: float32 is the network itself; bfloat16 rounds the factors of its products to
            8 bits, which leaves pixels, losses and steps in float32.
        x: (N, C, H, W) in [0, 1], a few images to try the passes on (`packed_passes`).
    """
    judge = packed_passes(network, pass_size, x)
    if search == "float32":
        return judge, judge
    return judge, packed_passes(_in_bfloat16(network), pass_size, x)


def searched(
    stage: Stage, search_fn: LogitsFn, logits_fn: LogitsFn, x: Tensor, labels: Tensor, ids: Tensor
) -> Tensor:
    """Return the points that one attack finds through `search_fn` for images x (N, C, H, W).

    An attack is done with an image once the passes that it searches through misclassify it.
    Where the network itself does not, the image was given up too early, and is attacked again
    through the network itself.
    """
    x_adv = stage.run(search_fn, x, labels, ids)
    with torch.no_grad():
        mistaken = is_broken(search_fn(x_adv), labels) & ~is_broken(logits_fn(x_adv), labels)
    if mistaken.any():
        x_adv[mistaken] = stage.run(logits_fn, x[mistaken], labels[mistaken], ids[mistaken])
    return x_adv


def _in_bfloat16(network: LogitsFn) -> LogitsFn:
    def logits(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return network(x).float()

    return logits

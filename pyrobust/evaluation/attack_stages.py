"""The stages of an attack cascade, and how a stage searches the perturbation set."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrobust.attacks import (
    ApgdSettings,
    FixedPasses,
    LogitsFn,
    MultitargetedSettings,
    ThreatModel,
    apgd,
    multitargeted,
    packed_passes,
)
from pyrobust.attacks.network_passes import Loss, TargetedLoss
from pyrobust.attacks.threat_model import is_broken
from pyrobust.config.fields import Precision

# (logits_fn, x, labels, sample_ids) -> x_adv: a point for each image, misclassified where found.
Attack = Callable[[LogitsFn, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Stage:
    """One attack; it attacks only the images that all earlier stages left robust.

    Args:
        attack: what is run, in words.
        note: what else a reader must know.
    """

    name: str
    attack: str
    seed: int
    run: Attack
    note: str | None = None


@dataclass(frozen=True)
class Cascade:
    """Stages in order."""

    name: str
    stages: tuple[Stage, ...]

    @property
    def notes(self) -> list[str]:
        """What a reader must know about the stages."""
        return [stage.note for stage in self.stages if stage.note]


def stage_seed(seed: int, number: int) -> int:
    """Return the seed of stage `number` (below 100), in the 63 bits that operators take."""
    return (100 * seed + number) % 2**63


def apgd_stage(
    name: str,
    loss: Loss | TargetedLoss,
    threat: ThreatModel,
    num_classes: int,
    num_restarts: int,
    num_steps: int,
    seed: int,
    num_targets: int = 9,
) -> Stage:
    """Return a stage of AutoPGD; a targeted loss tries the `num_targets` likeliest targets.

    DLR divides by the third largest logit and targeted DLR by the fourth too: with fewer classes
    the margin takes their place, which is the same loss without the division.
    """
    used, note = loss, None
    if loss == "dlr" and num_classes < 3:
        used = "margin"
    if loss == "targeted_dlr" and num_classes < 4:
        used = "targeted_margin"
    if used != loss:
        note = f"{name} ran on the {_words(used)}: {num_classes} classes are too few for DLR"
    settings = ApgdSettings(threat, used, num_steps, num_restarts, num_targets)
    targets = min(settings.num_targets, num_classes - 1)
    each = f" for each of {targets} targets" if settings.is_targeted else ""

    def run(logits_fn: LogitsFn, x: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
        return apgd(logits_fn, x, labels, ids, settings, seed)

    attack = f"APGD on {_words(used)}, {num_restarts} × {num_steps} steps{each}"
    return Stage(name, attack, seed, run, note)


def multitargeted_stage(
    name: str, settings: MultitargetedSettings, num_classes: int, seed: int
) -> Stage:
    """Return a stage of the multi-targeted attack."""
    targets = min(settings.num_targets or num_classes - 1, num_classes - 1)
    each = "shared by" if settings.share_restarts else "for each of"

    def run(logits_fn: LogitsFn, x: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
        return multitargeted(logits_fn, x, labels, ids, settings, seed)

    attack = (
        f"multi-targeted on margin, {settings.num_restarts} × {settings.num_steps} "
        f"steps {each} {targets} targets"
    )
    return Stage(name, attack, seed, run)


def _words(loss: str) -> str:
    return loss.replace("_", " ").replace("dlr", "DLR")


def judge_and_search_passes(
    network: LogitsFn, search: Precision, pass_size: int, x: Tensor, most: int | None = None
) -> tuple[FixedPasses, FixedPasses]:
    """Return the passes that judge points, and those that attacks search through.

    Args:
        search: float32 is the network itself; bfloat16 rounds the factors of its products to
            8 bits, which leaves pixels, losses and steps in float32.
        x: (N, C, H, W) in [0, 1], a few images to try the passes on (`packed_passes`).
        most: images that a pass may have on a GPU, where their bits stay the same.
    """
    judge = packed_passes(network, pass_size, x, most)
    if search == "float32":
        return judge, judge
    return judge, packed_passes(_in_bfloat16(network), pass_size, x, most)


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

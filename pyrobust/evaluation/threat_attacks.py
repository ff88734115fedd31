"""The threats of `pyrobust threats`: perturbation sets of several kinds, each with its attacks."""

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from pyrobust.attacks import LogitsFn, ThreatModel
from pyrobust.attacks.patch import PatchSet, PatchSettings, patch
from pyrobust.attacks.spatial import SpatialSettings, spatial
from pyrobust.attacks.threat_model import PerturbationSet, PixelRange, WorstPoints, is_broken
from pyrobust.config import parse_epsilon
from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.config.threats import Threat, ThreatsSettings
from pyrobust.evaluation.attack_stages import Cascade, Stage, stage_seed
from pyrobust.evaluation.attack_suites import main_cascade
from pyrobust.evaluation.corruptions import CORRUPTIONS, Corruption

BALLS = ("linf", "l2", "l1")


@dataclass(frozen=True)
class ThreatAttack:
    """One threat, how it reads, and the attacks in it."""

    name: Threat
    words: str
    allowed: PerturbationSet
    cascade: Cascade


def threat_attack(
    name: Threat, settings: ThreatsSettings, image_shape: tuple[int, int, int], num_classes: int
) -> ThreatAttack:
    """Return the attacks of one threat on images of `image_shape` (H, W, C)."""
    if name in BALLS:
        return _ball_attack(name, settings, num_classes)
    made = {"spatial": _spatial_attack, "patch": _patch_attack, "corruptions": _corruptions_attack}
    return made[name](settings, image_shape)


def _ball_attack(name: Threat, settings: ThreatsSettings, num_classes: int) -> ThreatAttack:
    radius = getattr(settings, name)
    threat = ThreatModel(name, parse_epsilon(radius))  # type: ignore[arg-type]
    attacks = EvaluationSettings(attack=settings.attack, seed=settings.seed)
    cascade = replace(main_cascade(attacks, threat, num_classes), name=name)
    return ThreatAttack(name, f"{name} ball of radius {radius}", threat, cascade)


def _spatial_attack(settings: ThreatsSettings, image_shape: tuple[int, int, int]) -> ThreatAttack:
    grid = SpatialSettings(
        settings.max_rotation,
        settings.max_translation,
        settings.num_rotations,
        settings.num_translations,
    )

    def run(logits_fn: LogitsFn, x: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
        return spatial(logits_fn, x, labels, grid)

    words = (
        f"rotation up to {grid.max_rotation:g}° and translation up to "
        f"{100 * grid.max_translation:.3g} % of the side"
    )
    stage = Stage("grid", f"all {grid.size} transformations of a grid", 0, run)
    return ThreatAttack("spatial", words, PixelRange(), Cascade("spatial", (stage,)))


def _patch_attack(settings: ThreatsSettings, image_shape: tuple[int, int, int]) -> ThreatAttack:
    height, width, _ = image_shape
    search = PatchSettings(settings.patch_area, settings.patch_locations, settings.patch_steps)
    side, places = search.side(height, width), len(list(search.places(height, width)))
    seed = stage_seed(settings.seed, 20)

    def run(logits_fn: LogitsFn, x: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
        return patch(logits_fn, x, labels, ids, search, seed)

    stage = Stage("patch", f"PGD on margin, {search.num_steps} steps at {places} places", seed, run)
    words = f"patch of {side}×{side} of {height}×{width} pixels"
    return ThreatAttack("patch", words, PatchSet(side), Cascade("patch", (stage,)))


def _corruptions_attack(
    settings: ThreatsSettings, image_shape: tuple[int, int, int]
) -> ThreatAttack:
    seed = stage_seed(settings.seed, 21)
    stages = tuple(
        _corruption_stage(name, corruption, settings.severity, seed)
        for name, corruption in CORRUPTIONS.items()
    )
    words = f"{len(stages)} kinds of corruption up to severity {settings.severity}"
    return ThreatAttack("corruptions", words, PixelRange(), Cascade("corruptions", stages))


def _corruption_stage(name: str, corruption: Corruption[Any], highest: int, seed: int) -> Stage:
    def run(logits_fn: LogitsFn, x: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
        worst = WorstPoints(x)
        for severity in range(1, highest + 1):
            rows = worst.standing()
            if not len(rows):
                break
            made = corruption(x[rows], ids[rows], severity, seed)
            logits = logits_fn(made)
            gap = logits.gather(1, labels[rows][:, None])[:, 0]
            worst.update(rows, made, -gap, is_broken(logits, labels[rows]))
        return worst.x_adv

    return Stage(name, f"{name.replace('_', ' ')}, severities 1 to {highest}", seed, run)

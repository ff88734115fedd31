"""Where an experiment departs from the paper's protocol, in words (appendix A)."""

from typing import Any

from pyrobust.config import parse_settings
from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.config.training import TrainSettings

# These say which model is meant, not how it is trained.
_OF_THE_TASK = {"recipe", "architecture", "norm", "epsilon", "mixing_factor", "seed"}

_ATTACKS = {
    "apgd_ce": "APGD-CE",
    "apgd_dlr": "APGD-DLR",
    "multitargeted": "MultiTargeted",
}


def attack_departures(settings: dict[str, Any], num_images: int, num_test: int) -> list[str]:
    """Return how an evaluation is weaker or stronger than AA+MT of the paper.

    Args:
        settings: those of `pyrobust evaluate`.
        num_images: test images attacked, out of `num_test`.
    """
    ours = parse_settings(EvaluationSettings, settings)
    paper = EvaluationSettings()
    departures = []
    for key, name in _ATTACKS.items():
        mine, theirs = (
            (getattr(s, f"{key}_restarts"), getattr(s, f"{key}_steps")) for s in (ours, paper)
        )
        if mine != theirs:
            departures.append(
                f"{name} runs {mine[0]}×{mine[1]} (restarts×steps) "
                f"instead of {theirs[0]}×{theirs[1]}"
            )
    if ours.multitargeted_share_restarts:
        departures.append("MultiTargeted deals its restarts out over the targets")
    if ours.multitargeted_targets is not None:
        departures.append(
            f"MultiTargeted tries {ours.multitargeted_targets} targets instead of all other classes"
        )
    if ours.search != paper.search:
        departures.append(f"attacks search with {ours.search} products")
    if num_images < num_test:
        departures.append(f"{num_images:,} of {num_test:,} test images are attacked")
    return departures


def training_departures(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the training settings that differ from the paper's recipe, with the paper's value."""
    paper = TrainSettings().model_dump(mode="json")
    return {
        key: paper[key]
        for key, value in settings.items()
        if key in paper and key not in _OF_THE_TASK and value != paper[key]
    }

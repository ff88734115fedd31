"""Which predictions count as misclassified."""

import pytest
import torch
from torch import Tensor

from pyrobust.attacks import (
    ApgdSettings,
    MultitargetedSettings,
    ThreatModel,
    apgd,
    multitargeted,
    pgd,
    pgd40,
)
from pyrobust.attacks.network_passes import LogitsFn
from pyrobust.attacks.threat_model import is_broken

NAN, INF = float("nan"), float("inf")
THREAT = ThreatModel("linf", 0.1)
LABELS = torch.zeros(4, dtype=torch.int64)
ATTACKS = {
    "pgd": (pgd, pgd40(THREAT)),
    "apgd": (apgd, ApgdSettings(THREAT, num_steps=10, num_restarts=1)),
    "multitargeted": (multitargeted, MultitargetedSettings(THREAT, num_steps=10, num_restarts=1)),
}


def test_logits_that_are_not_finite_are_misclassified_whatever_the_label() -> None:
    logits = torch.tensor([[2.0, 1, 0], [NAN, 1, 0], [2, NAN, 0], [INF, 0, 1], [2, -INF, 0]])
    assert is_broken(logits, torch.zeros(5, dtype=torch.int64)).tolist() == [False] + [True] * 4
    nan = torch.full((3, 3), NAN)
    assert is_broken(nan, torch.arange(3)).all()
    assert is_broken(torch.tensor([[2.0, 1, 0]]), torch.tensor([1])).all()


def nan_away_from(x: Tensor) -> LogitsFn:
    """Return a classifier that predicts class 0 on x and NaN on every other point."""

    def logits(points: Tensor) -> Tensor:
        confident = torch.stack([points.sum((1, 2, 3)) * 0 + 5, points.mean((1, 2, 3))], 1)
        known = (points.flatten(1)[:, None] == x.flatten(1)).all(2).any(1)
        return torch.where(known[:, None], confident, NAN)

    return logits


@pytest.mark.parametrize("name", ATTACKS)
def test_a_network_that_turns_nan_off_the_images_is_broken_on_all_of_them(name: str) -> None:
    x = torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    network = nan_away_from(x)
    assert not is_broken(network(x), LABELS).any()
    attack, settings = ATTACKS[name]
    x_adv = attack(network, x, LABELS, torch.arange(4), settings, seed=0)
    assert is_broken(network(x_adv), LABELS).all()
    assert THREAT.contains(x_adv, x).all()

"""On a linear network every attack finds exactly the images that can be broken."""

import pytest
import torch

from pyrobust.attacks import (
    ApgdSettings,
    AscentSettings,
    FabSettings,
    MultitargetedSettings,
    ThreatModel,
    apgd,
    fab,
    multitargeted,
    pgd,
    pgd40,
)
from tests.attacks.linear import linear_task

EPSILON = {"linf": 0.02, "l2": 0.12, "l1": 0.12}
CASES = [(norm, classes) for norm in EPSILON for classes in (2, 3, 5)]


def attacked(name: str, norm: str, num_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return which of 200 images the attack left standing, and which the closed form does."""
    threat = ThreatModel(norm, EPSILON[norm])
    network, x, labels = linear_task(num_classes, 200, 0.12, seed=num_classes)
    ids = torch.arange(len(x))
    sizes = ((0, threat.epsilon), (5, threat.epsilon / 10))
    steepest = AscentSettings(threat, 20, sizes, "steepest")
    x_adv = {
        "apgd": lambda: apgd(network, x, labels, ids, ApgdSettings(threat, "margin", 100, 2), 0),
        "apgd_dlr": lambda: apgd(
            network, x, labels, ids, ApgdSettings(threat, "targeted_dlr", 100, 1), 0
        ),
        "multitargeted": lambda: multitargeted(
            network, x, labels, ids, MultitargetedSettings(threat, 60, 1), 0
        ),
        "pgd": lambda: pgd(network, x, labels, ids, steepest, 0),
        "pgd40": lambda: pgd(network, x, labels, ids, pgd40(threat), 0),
    }[name]()
    assert threat.contains(x_adv, x).all()
    standing = network(x_adv).argmax(1) == labels
    return standing, network.is_robust(x, labels, norm, threat.epsilon)


@pytest.mark.parametrize(("norm", "num_classes"), CASES)
def test_multitargeted_meets_the_closed_form_to_the_image(norm: str, num_classes: int) -> None:
    standing, robust = attacked("multitargeted", norm, num_classes)
    assert 20 < robust.sum() < 180, "the case tells nothing"
    assert torch.equal(standing, robust)


@pytest.mark.parametrize(("norm", "num_classes"), CASES)
def test_fab_meets_the_closed_form_but_for_its_overshoot(norm: str, num_classes: int) -> None:
    threat = ThreatModel(norm, EPSILON[norm])
    network, x, labels = linear_task(num_classes, 200, 0.12, seed=num_classes)
    x_adv = fab(network, x, labels, FabSettings(threat, num_steps=20))
    assert threat.contains(x_adv, x).all()
    standing = network(x_adv).argmax(1) == labels
    robust, nearly = (
        network.is_robust(x, labels, norm, share * threat.epsilon) for share in (1, 0.99)
    )
    assert 20 < robust.sum() < 180, "the case tells nothing"
    assert not (robust & ~standing).any()
    assert not (standing & ~nearly).any()


@pytest.mark.parametrize("norm", EPSILON)
@pytest.mark.parametrize("name", ["apgd", "pgd", "pgd40"])
def test_untargeted_attacks_meet_the_closed_form_of_two_classes(name: str, norm: str) -> None:
    standing, robust = attacked(name, norm, 2)
    assert torch.equal(standing, robust)


@pytest.mark.parametrize("norm", EPSILON)
@pytest.mark.parametrize("name", ["apgd", "apgd_dlr", "pgd", "pgd40"])
def test_no_attack_breaks_what_cannot_be_broken(name: str, norm: str) -> None:
    standing, robust = attacked(name, norm, 5)
    assert (standing >= robust).all()
    assert standing.sum() <= robust.sum() + 4

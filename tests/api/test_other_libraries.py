"""Models and points of torchattacks and foolbox work unchanged, and agree."""

import pytest
import torch

import pyrobust
from tests.api.conftest import Classified

EPSILON = 4 / 255


def robust_images(classified: Classified, x_adv: torch.Tensor) -> int:
    network, _, labels = classified
    with torch.no_grad():
        return int((network(x_adv).argmax(1) == labels).sum())


def ours(classified: Classified) -> int:
    """Return how many images withstand AutoAttack's two APGD attacks."""
    result = pyrobust.evaluate(*classified, norm="linf", epsilon=EPSILON, attack="fast")
    return robust_images(classified, result.adversarial)


def test_our_attack_breaks_what_torchattacks_breaks(classified: Classified) -> None:
    torchattacks = pytest.importorskip("torchattacks", reason="torchattacks is not installed")
    network, images, labels = classified
    theirs = torchattacks.PGD(network, eps=EPSILON, alpha=1 / 255, steps=40)(images, labels)
    assert ours(classified) <= robust_images(classified, theirs)


def test_our_attack_breaks_what_foolbox_breaks(classified: Classified) -> None:
    foolbox = pytest.importorskip("foolbox", reason="foolbox is not installed")
    network, images, labels = classified
    model = foolbox.PyTorchModel(network.eval(), bounds=(0, 1), device="cpu")
    _, theirs, _ = foolbox.attacks.LinfPGD()(model, images, labels, epsilons=EPSILON)
    assert ours(classified) <= robust_images(classified, theirs)

"""PGD: its rates, what it returns, and that images do not know of each other."""

from dataclasses import replace

import pytest
import torch

from pyrobust.attacks import (
    ApgdSettings,
    AscentSettings,
    MultitargetedSettings,
    ThreatModel,
    apgd,
    multitargeted,
    pgd,
    pgd40,
)
from pyrobust.attacks.network_passes import gradient, loss_fn
from pyrobust.attacks.threat_model import WorstPoints
from tests.attacks.linear import linear_task
from tests.attacks.networks import random_images, smooth_network

THREATS = [ThreatModel("linf", 0.02), ThreatModel("l2", 0.12)]


def test_pgd40_is_that_of_the_authors() -> None:
    settings = pgd40(ThreatModel("linf", 8 / 255))
    assert (settings.num_steps, settings.optimizer) == (40, "adam")
    rates = [settings.step_size(step) for step in (0, 19, 20, 29, 30, 39)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.0001, 0.0001])


@pytest.mark.parametrize("threat", THREATS)
@pytest.mark.parametrize("name", ["pgd", "apgd", "multitargeted"])
def test_results_depend_on_seed_and_sample_id_alone(name: str, threat: ThreatModel) -> None:
    network, x = smooth_network(dtype=torch.float64), random_images(24)
    labels = network(x).argmax(1)
    ids = torch.arange(100, 124)

    def attack(rows: torch.Tensor, seed: int = 5) -> torch.Tensor:
        images = (network, x[rows], labels[rows], ids[rows])
        if name == "apgd":
            return apgd(*images, ApgdSettings(threat, "dlr", 10, 2), seed)
        if name == "multitargeted":
            return multitargeted(*images, MultitargetedSettings(threat, 6, 1), seed)
        return pgd(*images, AscentSettings(threat, 6, ((0, 0.01),)), seed)

    together = attack(torch.arange(24))
    order = torch.tensor([7, 3, 20, 11, 0])
    # Not to the bit: the network's own passes may round otherwise in other batches.
    torch.testing.assert_close(attack(order), together[order], rtol=0, atol=1e-9)
    assert not torch.equal(attack(order, seed=6), together[order])


@pytest.mark.parametrize("threat", THREATS)
def test_points_lie_in_the_ball_and_in_the_box(threat: ThreatModel) -> None:
    network = smooth_network(dtype=torch.float32)
    x = torch.rand((32, 1, 8, 8), generator=torch.Generator().manual_seed(1))
    x[:8] = (x[:8] > 0.5).float()
    x_adv = pgd(network, x, network(x).argmax(1), torch.arange(32), pgd40(threat), 0)
    assert threat.contains(x_adv, x).all()
    assert (threat.distance(x_adv, x) > threat.epsilon / 10).all()


def test_a_walk_may_continue_to_the_highest_loss() -> None:
    network, x, labels = linear_task(4, 64, 0.1, seed=0)
    settings = pgd40(ThreatModel("linf", 0.02))
    full = replace(settings, stop_when_broken=False)
    stopped, worst = (pgd(network, x, labels, torch.arange(64), s, 0) for s in (settings, full))
    loss = loss_fn("margin")
    first, highest = (gradient(network, p, loss, labels).loss for p in (stopped, worst))
    assert torch.equal(first > 0, highest > 0)
    assert (highest >= first - 1e-6).all()
    assert highest.sum() > first.sum() + 1


def test_worst_points_prefer_broken_ones_then_higher_losses() -> None:
    worst = WorstPoints(torch.zeros(3, 1))
    rows = torch.arange(3)
    worst.update(rows, torch.full((3, 1), 0.1), torch.tensor([1.0, 2.0, 3.0]),
                 torch.tensor([False, False, True]))  # fmt: skip
    worst.update(rows, torch.full((3, 1), 0.2), torch.tensor([2.0, 1.0, 9.0]),
                 torch.tensor([False, True, False]))  # fmt: skip
    torch.testing.assert_close(worst.x_adv[:, 0], torch.tensor([0.2, 0.2, 0.1]))
    assert worst.loss.tolist() == [2.0, 1.0, 3.0]
    assert worst.standing().tolist() == [0]


def test_a_network_without_gradient_gives_zeros() -> None:
    x = torch.rand(2, 1, 2, 2)
    labels = torch.tensor([0, 1])
    for logits_fn in (
        lambda images: torch.ones(len(images), 3),
        lambda images: torch.ones(len(images), 3, requires_grad=True) * 1.0,
    ):
        assert not gradient(logits_fn, x, loss_fn("margin"), labels).grad.any()


@pytest.mark.parametrize(
    ("norm", "point", "inside"),
    [
        ("linf", [0.5, 0.6], True),
        ("linf", [0.5, 0.6000015], False),
        ("l2", [0.56, 0.58], True),
        ("l2", [0.56, 0.58001], False),
        ("linf", [float("nan"), 0.5], False),
    ],
)
def test_the_ball_ends_at_epsilon(norm: str, point: list[float], inside: bool) -> None:
    threat = ThreatModel(norm, 0.1)
    x, x_adv = torch.full((1, 2), 0.5), torch.tensor([point])
    assert bool(threat.contains(x_adv, x)) is inside


def test_the_box_ends_at_its_end() -> None:
    threat = ThreatModel("linf", 0.1)
    assert threat.contains(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.05, 0.95]])).all()
    for outside in ([-1e-7, 1.0], [0.0, 1.0000001]):
        assert not threat.contains(torch.tensor([outside]), torch.tensor([[0.05, 0.95]])).any()

"""Auto-PGD in l1 against the public implementation, and what holds for its walks."""

import pytest
import torch
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from torch import nn

from pyrobust.attacks import ApgdSettings, ThreatModel, apgd
from pyrobust.attacks.apgd_l1 import stages
from tests.attacks.networks import Recorder, random_images, smooth_network

THREAT = ThreatModel("l1", 0.8)
IDS = torch.arange(100)


def task(count: int = 100) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    network = smooth_network(dtype=torch.float32)
    x = random_images(count, dtype=torch.float32)
    return network, x, network(x).argmax(1)


@pytest.mark.parametrize("loss", ["cross_entropy", "targeted_dlr"])
def test_it_breaks_what_the_public_implementation_breaks(loss: str) -> None:
    network, x, labels = task()
    options = {"n_iter": 100, "norm": "L1", "eps": THREAT.epsilon, "device": "cpu"}
    if loss == "cross_entropy":
        public = APGDAttack(network, n_restarts=1, use_largereps=True, **options)
    else:
        public = APGDAttack_targeted(network, n_target_classes=4, use_largereps=True, **options)
    theirs = network(public.perturb(x, labels)).argmax(1) != labels
    settings = ApgdSettings(THREAT, loss, 100, num_restarts=1, num_targets=4)
    x_adv = apgd(network, x, labels, IDS, settings, 0)
    ours = network(x_adv).argmax(1) != labels
    assert THREAT.contains(x_adv, x).all()
    assert 20 < theirs.sum() < 90, "the case tells nothing"
    assert (ours != theirs).sum() <= 2


def test_best_losses_are_as_high_as_those_of_the_public_implementation() -> None:
    network, x, labels = task(30)
    threat = ThreatModel("l1", 0.2)
    public = APGDAttack(network, n_iter=100, norm="L1", eps=0.2, device="cpu")
    public.init_hyperparam(x)
    torch.manual_seed(0)
    _, standing, their_loss, _ = public.decr_eps_pgd(
        x, labels, [0.6, 0.4, 0.2], [30, 30, 40], use_rs=True
    )
    x_adv = apgd(network, x, labels, IDS[:30], ApgdSettings(threat, num_restarts=1), 0)
    loss = nn.functional.cross_entropy(network(x_adv), labels, reduction="none")
    kept = standing.bool()
    assert kept.sum() > 15
    torch.testing.assert_close(loss[kept], their_loss[kept], rtol=0.02, atol=2e-3)


def test_points_outside_the_ball_break_no_image() -> None:
    """The first two thirds of a walk search larger balls."""
    network, x, labels = task(40)
    recorder = Recorder(network)
    settings = ApgdSettings(ThreatModel("l1", 0.3), num_steps=20, num_restarts=1)
    x_adv = apgd(recorder, x, labels, IDS[:40], settings, 0)
    reached = [(p - x).abs().flatten(1).sum(1).max() for p in recorder.points[:12]]
    assert max(reached) > 0.6
    assert settings.threat.contains(x_adv, x).all()
    standing = network(x_adv).argmax(1) == labels
    assert 0 < standing.sum() < 40


def test_an_images_result_does_not_depend_on_the_others() -> None:
    network, x, labels = task(24)
    network, x = network.double(), x.double()
    settings = ApgdSettings(THREAT, num_steps=30, num_restarts=2)
    whole = apgd(network, x, labels, IDS[:24], settings, 5)
    part = apgd(network, x[8:12], labels[8:12], IDS[8:12], settings, 5)
    torch.testing.assert_close(part, whole[8:12], rtol=0, atol=1e-9)


@pytest.mark.parametrize("num_steps", [1, 2, 3, 4, 7, 20, 100])
def test_all_steps_are_used_and_the_ball_itself_gets_some(num_steps: int) -> None:
    factors, counts = zip(*stages(num_steps), strict=True)
    assert factors == (3.0, 2.0, 1.0)
    assert sum(counts) == num_steps and counts[-1] >= 1
    if num_steps == 100:
        assert counts == (30, 30, 40)

"""AutoPGD against the public implementation, point by point, in float64."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn

from pyrobust import ops
from pyrobust.attacks import ApgdSettings, ThreatModel, apgd
from pyrobust.attacks.apgd import checkpoints
from pyrobust.attacks.multitargeted import ranked_targets
from tests.attacks.networks import Recorder, random_images, smooth_network
from tests.attacks.public import NORMS, public_walk

# The public l2 step adds 1e-12 to norms before it divides. Where the walk goes back to its best
# point, a difference of this size may pick another of the points around a maximum.
TOLERANCE = {"linf": 1e-13, "l2": 1e-6}
NUM_STEPS = 100
SEED = 3


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    """The public implementation makes some tensors in the default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("loss", ["cross_entropy", "dlr", "targeted_dlr"])
def test_walks_are_those_of_the_public_implementation(norm: str, loss: str) -> None:
    network, x = smooth_network(), random_images(40)
    labels = network(x).argmax(1)
    threat = ThreatModel(norm, 0.02 if norm == "linf" else 0.12)
    settings = ApgdSettings(threat, loss, NUM_STEPS, num_restarts=1, num_targets=1)
    targets = ranked_targets(network, x, labels)[:, 0] if loss == "targeted_dlr" else None
    ids = torch.arange(len(x))
    start = ops.random_start(x, ids, threat.epsilon, norm, SEED, 0, on_boundary=True)
    public = Recorder(network)
    their_standing, _ = public_walk(public, x, labels, start, settings, targets)

    recorder = Recorder(network)
    x_adv = apgd(recorder, x, labels, ids, settings, SEED)
    ours = recorder.points[1 if targets is not None else 0 :]

    standing = torch.ones_like(labels, dtype=torch.bool)
    for step, points in enumerate(public.points):
        if not standing.any():
            break
        torch.testing.assert_close(ours[step], points[standing], rtol=0, atol=TOLERANCE[norm])
        standing &= network(points).argmax(1) == labels
    assert torch.equal(standing, their_standing)
    assert torch.equal(network(x_adv).argmax(1) == labels, standing)
    assert 0 < standing.sum() < len(x), "the case tells nothing"


@pytest.mark.parametrize("norm", NORMS)
def test_best_losses_are_those_of_the_public_implementation(norm: str) -> None:
    network, x = smooth_network(), random_images(20)
    labels = network(x).argmax(1)
    threat = ThreatModel(norm, 0.003 if norm == "linf" else 0.02)
    settings = ApgdSettings(threat, "cross_entropy", NUM_STEPS, num_restarts=1)
    ids = torch.arange(len(x))
    start = ops.random_start(x, ids, threat.epsilon, norm, SEED, 0, on_boundary=True)
    standing, theirs = public_walk(network, x, labels, start, settings)
    x_adv = apgd(network, x, labels, ids, settings, SEED)
    ours = nn.functional.cross_entropy(network(x_adv), labels, reduction="none")
    assert standing.sum() > len(x) // 2
    torch.testing.assert_close(ours[standing], theirs[standing], rtol=0, atol=1e-10)


def test_restarts_meet_only_robust_images() -> None:
    network, x = smooth_network(), random_images(40)
    labels = network(x).argmax(1)
    settings = ApgdSettings(ThreatModel("linf", 0.02), num_steps=10, num_restarts=3)
    recorder = Recorder(network)
    apgd(recorder, x, labels, torch.arange(len(x)), settings, SEED)
    sizes = [len(points) for points in recorder.points]
    assert sizes == sorted(sizes, reverse=True)
    first = apgd(network, x, labels, torch.arange(len(x)), replace(settings, num_restarts=1), SEED)
    assert sizes[-1] <= int((network(first).argmax(1) == labels).sum()) < len(x)


def test_checkpoints_are_those_of_the_paper() -> None:
    assert list(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(100)[41] == 19
    assert list(checkpoints(1)) == [1]


@pytest.mark.parametrize("num_steps", [1, 2, 5, 7, 20, 33, 50, 150])
def test_checkpoints_of_any_length_follow_the_public_rule(num_steps: int) -> None:
    window, shortest = max(int(0.22 * num_steps), 1), max(int(0.06 * num_steps), 1)
    since, expected = 0, []
    for step in range(1, num_steps + 1):
        since += 1
        if since == window:
            expected.append(step)
            window, since = max(window - max(int(0.03 * num_steps), 1), shortest), 0
    assert list(checkpoints(num_steps)) == expected

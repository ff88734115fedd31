"""Square, against the public implementation and against itself without its memory."""

from typing import Any

import pytest
import torch
from pyautoattack.square import SquareAttack
from torch import Tensor

from pyrobust.attacks import SquareSettings, ThreatModel, square
from pyrobust.attacks.threat_model import is_broken
from tests.attacks.networks import Recorder, random_images, smooth_network

EPSILON = {"linf": 0.04, "l2": 0.25, "l1": 0.9}
NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}


def task(count: int = 60) -> tuple[Any, Tensor, Tensor]:
    network, x = smooth_network(dtype=torch.float32), random_images(count, dtype=torch.float32)
    return network, x, network(x).argmax(1)


def test_the_schedule_is_that_of_the_paper() -> None:
    settings = SquareSettings(ThreatModel("linf", 0.1), 5000)
    phases = list(settings.phases())
    assert [number for number, _ in phases] == [11, 40, 150, 300, 500, 1000, 2000, 999]
    assert [share for _, share in phases] == [0.8 / 2**halvings for halvings in range(8)]
    assert [settings.side(share, 32, 32) for _, share in phases] == [29, 20, 14, 10, 7, 5, 4, 3]
    in_l2 = SquareSettings(ThreatModel("l2", 0.1), 30)
    assert list(in_l2.phases()) == [(11, 0.8), (19, 0.4)]
    assert [in_l2.side(share, 32, 30) for share in (0.8, 0.1, 1e-3)] == [29, 11, 3]


@pytest.mark.parametrize("norm", NORMS)
def test_it_breaks_what_the_public_implementation_breaks(norm: Any) -> None:
    network, x, labels = task()
    threat = ThreatModel(norm, EPSILON[norm])
    x_adv = square(network, x, labels, torch.arange(60), SquareSettings(threat, 200), 0)
    assert threat.contains(x_adv, x).all()
    ours = is_broken(network(x_adv), labels)
    with torch.random.fork_rng():
        public = SquareAttack(
            network, norm=NORMS[norm], n_queries=200, eps=threat.epsilon, seed=0,
            resc_schedule=False,
        )  # fmt: skip
        theirs = is_broken(network(public.perturb(x, labels)), labels)
    assert 10 < theirs.sum() < 55, "the case tells nothing"
    assert ours.sum() >= theirs.sum() - 3


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(3, 9, 7), (1, 4, 4), (2, 1, 6)])
def test_all_points_lie_in_the_ball(norm: Any, shape: tuple[int, ...]) -> None:
    x = random_images(6, dtype=torch.float32, shape=shape)
    x[0], x[1] = 0, 1
    threat = ThreatModel(norm, EPSILON[norm])

    def unbroken(points: Tensor) -> Tensor:
        sums = points.flatten(1).sum(1)
        return torch.stack([sums.new_full(sums.shape, 1e6), sums], dim=1)

    recorder = Recorder(unbroken)
    labels = torch.zeros(6, dtype=torch.int64)
    x_adv = square(recorder, x, labels, torch.arange(6), SquareSettings(threat, 80), 0)
    same_images = [points for points in recorder.points if len(points) == 6]
    assert same_images
    assert all(threat.contains(points, x).all() for points in same_images)
    # The sum of the pixels is the loss: the search finds larger ones.
    assert (x_adv.flatten(1).sum(1) >= same_images[0].flatten(1).sum(1)).all()
    assert not torch.equal(x_adv, same_images[0])


def test_squares_that_were_refused_are_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x, labels = task(8)
    settings = SquareSettings(ThreatModel("linf", 0.02), 1500)
    results, images = [], []
    for remembered in (16, 0):
        monkeypatch.setattr("pyrobust.attacks.square_corners._SQUARES_PER_QUERY", remembered)
        recorder = Recorder(network)
        results.append(square(recorder, x, labels, torch.arange(8), settings, 0))
        images.append(sum(map(len, recorder.points)))
    # One image at a time gives the same bits; here rounding in a batch may differ.
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-6)
    assert not is_broken(network(results[0]), labels).all()
    assert images[0] < 0.7 * images[1]

"""Targets, walks and rates of the multi-targeted attack."""

import pytest
import torch
from torch import Tensor

from pyrobust.attacks import AscentSettings, MultitargetedSettings, ThreatModel, multitargeted
from pyrobust.attacks.multitargeted import ranked_targets
from tests.attacks.linear import linear_task
from tests.attacks.networks import Recorder

THREAT = ThreatModel("linf", 8 / 255)


def test_targets_are_the_other_classes_likeliest_first() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0, 0.0], [0.0, 5.0, 5.0, 9.0], [1.0, 1.0, 1.0, 1.0]])
    targets = ranked_targets(lambda x: logits, torch.zeros(3, 1), torch.tensor([0, 1, 2]))
    assert targets.tolist() == [[2, 1, 3], [3, 2, 0], [0, 1, 3]]


@pytest.mark.parametrize(
    ("share", "walks"),
    [
        (False, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (3, 0),
                 (3, 1), (3, 2)]),
        (True, [(0, 0), (0, 1), (0, 2), (1, 0)]),
    ],
)  # fmt: skip
def test_restarts_are_for_each_target_or_shared(share: bool, walks: list[tuple[int, int]]) -> None:
    settings = MultitargetedSettings(THREAT, num_restarts=4, share_restarts=share)
    assert list(settings.walks(3)) == walks


@pytest.mark.parametrize(
    ("num_steps", "schedule"),
    [
        (200, {0: 0.1, 99: 0.1, 100: 0.01, 149: 0.01, 150: 0.001, 199: 0.001}),
        (5, {0: 0.1, 2: 0.1, 3: 0.01, 4: 0.001}),
        (1, {0: 0.1}),
    ],
)
def test_rates_fall_at_half_and_at_three_quarters(
    num_steps: int, schedule: dict[int, float]
) -> None:
    ascent = MultitargetedSettings(THREAT, num_steps).ascent
    assert ascent.optimizer == "adam"
    for step, rate in schedule.items():
        assert ascent.step_size(step) == pytest.approx(rate)


def test_l2_restarts_climb_steepest_from_steps_of_epsilon() -> None:
    ascent = MultitargetedSettings(ThreatModel("l2", 0.5), 200).ascent
    assert ascent.optimizer == "steepest"
    assert [ascent.step_size(step) for step in (0, 100, 150)] == pytest.approx([0.5, 0.05, 0.005])


def standing_classes(num_targets: int | None, share: bool = False) -> tuple[Recorder, Tensor]:
    """Attack an unbreakable network of four classes and return the passes that were made."""
    network, x, labels = linear_task(4, 3, 0.1, seed=0)
    network.bias = network.bias + 100 * torch.nn.functional.one_hot(labels[0], 4)
    labels = network(x).argmax(1)
    recorder = Recorder(network)
    settings = MultitargetedSettings(THREAT, 2, 2, share, num_targets)
    return recorder, multitargeted(recorder, x, labels, torch.arange(3), settings, 0)


@pytest.mark.parametrize(
    ("num_targets", "share", "walks"),
    [(None, False, 6), (2, False, 4), (9, False, 6), (2, True, 2)],
)
def test_number_of_passes_is_that_of_the_walks(
    num_targets: int | None, share: bool, walks: int
) -> None:
    recorder, _ = standing_classes(num_targets, share)
    assert len(recorder.points) == 1 + walks * 3  # two steps have three points; one for the targets


def test_fewer_targets_start_from_the_same_points() -> None:
    all_targets, _ = standing_classes(None)
    two_targets, _ = standing_classes(2)
    assert torch.equal(two_targets.points[1], all_targets.points[1])
    # The first walk of the second restart.
    assert torch.equal(two_targets.points[1 + 2 * 3], all_targets.points[1 + 3 * 3])


def test_broken_images_meet_no_further_pass() -> None:
    network, x, labels = linear_task(3, 64, 0.1, seed=1)
    recorder = Recorder(network)
    settings = MultitargetedSettings(ThreatModel("linf", 0.02), 20, 2)
    x_adv = multitargeted(recorder, x, labels, torch.arange(64), settings, 0)
    sizes = [len(points) for points in recorder.points[1:]]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == int((network(x_adv).argmax(1) == labels).sum())


def test_points_of_standing_images_have_the_largest_margin_loss_seen() -> None:
    network, x, labels = linear_task(3, 32, 0.1, seed=2)
    recorder = Recorder(network)
    settings = MultitargetedSettings(ThreatModel("linf", 0.002), 10, 1)
    x_adv = multitargeted(recorder, x, labels, torch.arange(32), settings, 0)

    def margin(points: Tensor) -> Tensor:
        logits = network(points)
        own = logits.gather(1, labels[:, None])[:, 0]
        return own - logits.scatter(1, labels[:, None], -torch.inf).amax(1)

    standing = network(x_adv).argmax(1) == labels
    assert standing.sum() > 8
    seen = [margin(p) for p in recorder.points[1:] if len(p) == 32]
    assert (margin(x_adv) <= torch.stack(seen).amin(0) + 1e-6)[standing].all()


def test_step_sizes_hold_until_the_next_one_begins() -> None:
    ascent = AscentSettings(THREAT, 10, ((0, 1.0), (3, 0.5), (7, 0.25)))
    sizes = [ascent.step_size(step) for step in range(10)]
    assert sizes == [1.0] * 3 + [0.5] * 4 + [0.25] * 3

"""Closed forms of the authors' schedules."""

import pytest
import torch

from pyrobust.config.training import LabellerSettings, TrainSettings
from pyrobust.training.schedules import Schedule, count_steps, scaled_rate

PAPER = Schedule("cosine", 0.4, 0.9, warmup=0.025, total_steps=19_531, steps_per_epoch=50e3 / 1024)


def test_400_epochs_of_the_paper_are_19531_steps_of_rate_up_to_0_4() -> None:
    assert count_steps(TrainSettings()) == 19_531
    assert Schedule.of(TrainSettings(), 19_531) == PAPER
    assert scaled_rate(0.1, 1024) == pytest.approx(0.4)
    assert scaled_rate(0.1, 512) == pytest.approx(0.2)
    assert scaled_rate(0.1, 128) == pytest.approx(0.1)
    assert count_steps(TrainSettings(epochs=0.001, epoch_size=100)) == 1
    assert Schedule.of(LabellerSettings(averaging_decay=0.9), 100).averaging_tau == 0.9


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 0.0), (244, 0.2), (488, 0.4), ((488 + 19_531) // 2, 0.2), (19_531, 0.0)],
)
def test_the_rate_rises_for_488_steps_and_falls_by_a_cosine(step: int, rate: float) -> None:
    assert PAPER.learning_rate(step) == pytest.approx(rate, abs=2e-5)
    assert PAPER.momentum_at(step) == 0.9


def test_the_cyclic_schedule_is_torch_s_one_cycle() -> None:
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=0.2, momentum=0.9, nesterov=True)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.2, total_steps=200, pct_start=0.025
    )
    ours = Schedule("cyclic", 0.2, 0.9, warmup=0.025, total_steps=200, steps_per_epoch=1)
    for step in range(200):
        group = optimizer.param_groups[0]
        assert ours.learning_rate(step) == pytest.approx(group["lr"], rel=1e-9)
        assert ours.momentum_at(step) == pytest.approx(group["momentum"], rel=1e-9)
        optimizer.step()
        if step < 199:
            cycle.step()


@pytest.mark.parametrize(
    ("step", "decay"), [(0, 0.1), (1, 2 / 11), (1789, 1790 / 1799), (1790, 0.995), (10**5, 0.995)]
)
def test_the_averaging_ramp_ends_at_step_1790(step: int, decay: float) -> None:
    assert PAPER.averaging_decay(step) == pytest.approx(decay)


def test_before_its_start_the_average_is_a_copy() -> None:
    schedule = Schedule.of(TrainSettings(averaging_start=0.5), total_steps=4)
    assert [schedule.averaging_decay(step) for step in range(4)] == [0, 0, 0.1, 2 / 11]


def test_a_run_without_warm_up_starts_at_its_full_rate() -> None:
    schedule = Schedule("cosine", 0.4, 0.9, warmup=0, total_steps=10, steps_per_epoch=1)
    assert schedule.learning_rate(0) == 0.4
    assert schedule.log_facts(10) == {"epoch": 10.0, "learning_rate": 0.0}

"""The noise schedule, in numbers."""

import numpy as np
import pytest

from pyrobust.errors import UserError
from pyrobust.generators.diffusion.ddpm import NoiseSchedule

LINEAR = NoiseSchedule.linear()


def test_betas_and_signal_are_those_of_the_paper() -> None:
    assert LINEAR.betas[[0, 1, 999]] == pytest.approx([1e-4, 1.1991992e-4, 0.02], rel=1e-7)
    assert LINEAR.alpha_bars[[0, 1, 499, 999]] == pytest.approx(
        [0.9999, 0.99978009, 0.0785872, 4.0358e-5], rel=1e-4
    )
    assert LINEAR.half_log_snrs[[0, 999]] == pytest.approx([4.60512, -5.05885], abs=1e-4)


@pytest.mark.parametrize(
    ("count", "first", "last"),
    [
        (4, [999, 749, 499, 249], []),
        (61, [999, 983], [32, 15]),
        (100, [999, 989], [19, 9]),
        (201, [999, 994], [9, 4]),
        (1000, [999, 998], [1, 0]),
    ],
)
def test_steps_even_in_time_start_from_noise(count: int, first: list[int], last: list[int]) -> None:
    steps = LINEAR.evenly_in_time(count)
    assert len(steps) == count
    assert steps[: len(first)].tolist() == first
    assert steps[len(steps) - len(last) :].tolist() == last


def test_steps_even_in_log_snr_reach_from_noise_to_the_least_noise() -> None:
    steps = LINEAR.evenly_in_log_snr(20)
    assert (steps[0], steps[-1], len(steps)) == (999, 0, 20)
    widths = np.diff(LINEAR.half_log_snrs[steps])
    assert np.abs(widths[:-2] - widths.mean()).max() < 0.1
    assert len(LINEAR.evenly_in_log_snr(200)) < 200  # fewer levels than that near the image


def test_a_schedule_comes_back_from_its_configuration() -> None:
    read = NoiseSchedule.from_config(NoiseSchedule.linear(50, 1e-3, 0.1).to_config())
    np.testing.assert_array_equal(read.betas, NoiseSchedule.linear(50, 1e-3, 0.1).betas)
    np.testing.assert_array_equal(NoiseSchedule.from_config({}).betas, LINEAR.betas)


@pytest.mark.parametrize(
    "config",
    [{"beta_schedule": "squaredcos_cap_v2"}, {"prediction_type": "v_prediction"}],
)
def test_another_kind_of_model_is_refused(config: dict[str, str]) -> None:
    ((key, value),) = config.items()
    with pytest.raises(UserError, match=f"unsupported scheduler: {key} is '{value}'; expected"):
        NoiseSchedule.from_config(config)

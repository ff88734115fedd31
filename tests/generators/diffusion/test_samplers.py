"""Samplers on images whose best prediction is known: pixels are normal(MEAN, SPREAD²)."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from pyrobust.generators.diffusion import edm
from pyrobust.generators.diffusion.ddpm import NoiseSchedule, ancestral, ddim, dpm_solver

LINEAR = NoiseSchedule.linear()
MEAN, SPREAD = 0.3, 0.1


def best_noise(x: Tensor, t: int) -> Tensor:
    """Return E[ε | x_t] for these images."""
    bar = LINEAR.alpha_bars[t]
    variance = bar * SPREAD**2 + 1 - bar
    return (x - float(np.sqrt(bar)) * MEAN) * float(np.sqrt(1 - bar) / variance)


def flowed(x: Tensor) -> Tensor:
    """Return the image where the probability-flow equation ends, which keeps
    (x - mean) / deviation: the best prediction from step 0.
    """
    last, first = LINEAR.alpha_bars[[-1, 0]]
    shrink = np.sqrt((first * SPREAD**2 + 1 - first) / (last * SPREAD**2 + 1 - last))
    at_first = float(np.sqrt(first)) * MEAN + (x - float(np.sqrt(last)) * MEAN) * float(shrink)
    noise_left = float(np.sqrt(1 - first)) * best_noise(at_first, 0)
    return (at_first - noise_left) / float(np.sqrt(first))


def noise(seed: int, count: int = 4000) -> Tensor:
    return torch.randn(count, 1, 1, 1, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize(
    ("sampler", "counts", "bound"),
    [(ddim, (10, 40, 160, 1000), 5e-3), (dpm_solver, (5, 20, 40, 80), 1e-3)],
)
def test_deterministic_samplers_follow_the_flow(
    sampler: Callable[..., Tensor], counts: tuple[int, ...], bound: float
) -> None:
    x = noise(0).clamp(-3, 3)
    errors = [
        (sampler(best_noise, LINEAR, x, count) - flowed(x)).abs().max().item() for count in counts
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < bound


def test_twenty_steps_of_the_fast_sampler_beat_a_hundred_of_ddim() -> None:
    x = noise(0).clamp(-3, 3)
    fast = (dpm_solver(best_noise, LINEAR, x, 20) - flowed(x)).abs().max()
    slow = (ddim(best_noise, LINEAR, x, 100) - flowed(x)).abs().max()
    assert fast < slow
    assert fast < 0.005  # little more than half a shade


def test_ancestral_samples_have_mean_and_spread_of_the_images() -> None:
    images = ancestral(best_noise, LINEAR, noise(0, 20_000), lambda t: noise(1 + t, 20_000))
    assert images.mean() == pytest.approx(MEAN, abs=4e-3)
    assert images.std() == pytest.approx(SPREAD, abs=4e-3)


def smooth(x: Tensor, t: int) -> Tensor:
    """Return a prediction that any wrong coefficient would show in."""
    return (0.9 * x + 0.1 * torch.sin(3 * x) + t / 4000).float()


@pytest.mark.parametrize("t", [999, 500, 10, 1, 0])
def test_a_step_is_that_of_the_fixed_large_scheduler(t: int) -> None:
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(variance_type="fixed_large")
    x = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(t))
    generator = torch.Generator().manual_seed(7)
    theirs = scheduler.step(smooth(x, t), t, x, generator=generator).prev_sample
    noise_of_step = torch.randn(x.shape, generator=torch.Generator().manual_seed(7))
    seen: list[Tensor] = []

    def predict(at: Tensor, step: int) -> Tensor:
        seen.append(at)
        return smooth(at, step)

    one = NoiseSchedule(LINEAR.betas[: t + 1])
    last = ancestral(predict, one, x, lambda step: noise_of_step)
    ours = seen[1] if t else last
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_ddim_is_that_of_the_scheduler() -> None:
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(timestep_spacing="trailing", set_alpha_to_one=True)
    scheduler.set_timesteps(25)
    x = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    theirs = x
    for t in scheduler.timesteps.tolist():
        predicted = smooth(theirs, t)
        theirs = scheduler.step(predicted, t, theirs, use_clipped_model_output=True).prev_sample
    torch.testing.assert_close(ddim(smooth, LINEAR, x, 25), theirs, rtol=0, atol=1e-3)


def test_noise_levels_of_karras_are_those_of_the_paper() -> None:
    sigmas = edm.sampling_sigmas(18)
    assert len(sigmas) == 19
    assert sigmas[[0, 1, 2, 16, 17, 18]] == pytest.approx(
        [80.0, 57.586, 40.786, 0.007528, 0.002, 0.0], rel=1e-3
    )
    assert edm.sampling_sigmas(1).tolist() == pytest.approx([80.0, 0.0])


@pytest.mark.parametrize(
    ("sigma", "weight", "skip", "out", "c_in"),
    [
        (0.5, 8.0, 0.5, 0.353553, 1.414214),
        (0.002, 250_004.0, 0.999984, 0.002, 1.999984),
        (80.0, 4.000156, 3.9061e-05, 0.49999, 0.0124998),
    ],
)
def test_preconditioning_in_numbers(
    sigma: float, weight: float, skip: float, out: float, c_in: float
) -> None:
    level = torch.tensor([sigma], dtype=torch.float64)
    assert edm.loss_weight(level).item() == pytest.approx(weight, rel=1e-6)
    seen: list[Tensor] = []

    def network(x: Tensor, noise_level: Tensor) -> Tensor:
        seen.extend([x, noise_level])
        return torch.ones_like(x)

    x = torch.full((1, 1, 1, 1), 2.0, dtype=torch.float64)
    image = edm.preconditioned(network)(x, level)
    assert image.item() == pytest.approx(2 * skip + out, rel=1e-5)
    assert seen[0].item() == pytest.approx(2 * c_in, rel=1e-5)
    assert seen[1].item() == pytest.approx(np.log(sigma) / 4)


def test_the_loss_of_a_network_that_predicts_zero_is_one_at_every_level() -> None:
    """With c_skip alone, images of spread sigma_data have weighted error 1 (section 5)."""
    generator = torch.Generator().manual_seed(0)
    for sigma in (0.01, 0.5, 20.0):
        images = 0.5 * torch.randn(50_000, 1, 1, 1, generator=generator, dtype=torch.float64)
        levels = torch.full((50_000,), sigma, dtype=torch.float64)
        noisy = images + sigma * torch.randn(images.shape, generator=generator).double()
        denoised = edm.preconditioned(lambda x, level: torch.zeros_like(x))(noisy, levels)
        error = (denoised - images).square().mean()
        assert (edm.loss_weight(levels[:1]) * error).item() == pytest.approx(1, abs=0.03)


def test_training_levels_are_log_normal() -> None:
    sigmas = edm.training_sigmas(torch.tensor([-1.0, 0.0, 2.0]))
    assert sigmas.tolist() == pytest.approx([0.0907180, 0.3011942, 3.3201169], rel=1e-5)


def best_image(x: Tensor, sigma: Tensor) -> Tensor:
    level = sigma.view(-1, 1, 1, 1).double()
    return (SPREAD**2 * x + level**2 * MEAN) / (SPREAD**2 + level**2)


def test_heun_follows_the_flow_with_second_order() -> None:
    x = noise(0)
    deviation = np.sqrt(SPREAD**2 + 80**2)
    exact = MEAN + (80 * x - MEAN) * float(SPREAD / deviation)
    errors = [(edm.heun(best_image, x, count) - exact).abs().max().item() for count in (18, 36, 72)]
    assert errors[0] < 0.05
    assert 2.5 < errors[0] / errors[1] < 8
    assert 2.5 < errors[1] / errors[2] < 8


def test_heun_takes_two_passes_a_step_but_the_last() -> None:
    calls: list[int] = []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        calls.append(1)
        return best_image(x, sigma)

    edm.heun(denoise, noise(0, 2), 18)
    assert len(calls) == 35

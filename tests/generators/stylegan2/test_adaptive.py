"""The probability of augmentation follows the overfitting."""

from pathlib import Path

import pytest
import torch

from pyrobust.config import parse_settings
from pyrobust.config.generators import GeneratorSettings
from pyrobust.data.dataset import Dataset
from pyrobust.generators.registry import GENERATORS
from pyrobust.generators.stylegan2 import stylegan2
from pyrobust.generators.stylegan2.adaptive_augmentation import AdaptiveProbability
from tests.generators.fits import fit_of


def moved(signs: list[float], batch_size: int = 10, images: int = 400) -> list[float]:
    adaptive = AdaptiveProbability(0.6, images, torch.device("cpu"))
    seen = []
    for step, sign in enumerate(signs):
        adaptive.update(step, torch.tensor(sign), batch_size)
        seen.append(round(adaptive.p.item(), 6))
    return seen


def test_it_moves_every_fourth_update_by_the_images_seen() -> None:
    # 4 updates of 10 images of the 400 that p takes from 0 to 1: 0.1 a move.
    assert moved([1.0] * 9) == [0, 0, 0, 0.1, 0.1, 0.1, 0.1, 0.2, 0.2]


def test_it_follows_the_mean_sign_and_stays_in_range() -> None:
    assert moved([1.0] * 4 + [0.9, 0.5, 0.5, 0.4])[-1] == 0.0
    assert moved([0.0] * 8)[-1] == 0.0
    assert moved([1.0] * 60)[-1] == 1.0


def test_its_state_is_all_of_it() -> None:
    first = AdaptiveProbability(0.6, 400, torch.device("cpu"))
    for step in range(6):
        first.update(step, torch.tensor(1.0), 10)
    second = AdaptiveProbability(0.6, 400, torch.device("cpu"))
    second.load_state(first.state())
    for step in range(6, 8):
        for adaptive in (first, second):
            adaptive.update(step, torch.tensor(1.0), 10)
    assert torch.equal(first.p, second.p) and first.p > 0.19


@pytest.mark.parametrize(("target", "augmented"), [(0.6, 7), (1.0, 0)])
def test_a_target_of_one_augments_nothing(
    target: float,
    augmented: int,
    bars: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[float] = []

    def augment(images: torch.Tensor, p: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        seen.append(p.item())
        return images

    monkeypatch.setattr(stylegan2, "augment", augment)
    small = {"width": 8, "latent_size": 4, "batch_size": 8, "augment_target": target}
    settings = parse_settings(
        GeneratorSettings, {"type": "stylegan2", "preset": "tiny", "augment_images": 100, **small}
    )
    task = GENERATORS["stylegan2"].start_training(fit_of(bars, settings, tmp_path))
    metrics = [task.step(step) for step in range(2)]
    # Real, fake and generated images of each step, and those of the penalty in the first.
    assert len(seen) == augmented
    assert all(torch.isfinite(values).all() for values in metrics)

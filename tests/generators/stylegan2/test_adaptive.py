"""The probability of augmentation follows the overfitting."""

import torch

from pyrobust.generators.stylegan2.adaptive import AdaptiveProbability


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

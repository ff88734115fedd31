"""AutoPGD's move and bookkeeping, against the lines of AutoAttack."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor

from pyrobust import ops
from tests import reference


@pytest.mark.parametrize("momentum", [1.0, 0.75])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_moves_match_plain_pytorch(
    norm: str, momentum: float, images: Callable[..., Any], dtype: torch.dtype, device: str
) -> None:
    x_adv, x, grad = images((4, 3, 11, 11), dtype=dtype, device=device)
    previous = images((4, 3, 11, 11), dtype=dtype, device=device, seed=1)[0]
    sizes = torch.tensor([0.05, 0.1, 0.2, 0.0], dtype=dtype, device=device)
    epsilon = 0.5 if norm == "l2" else 0.03
    ones = torch.ones(4, dtype=dtype, device=device)
    state = ops.ApgdState.start(x_adv, grad, ones, ones.bool(), epsilon)
    state.x_previous.copy_(previous)
    state.step_size.copy_(sizes)
    ops.apgd_step_(state, x, grad, epsilon, norm, momentum)
    expected = reference.apgd_step(x_adv, previous, x, grad, sizes, epsilon, norm, momentum)
    if norm == "linf":
        assert torch.equal(state.x_adv, expected)
    else:
        bound = 2e-6 if dtype == torch.float32 else 1e-14
        torch.testing.assert_close(state.x_adv, expected, rtol=0, atol=bound)
    assert torch.equal(state.x_previous, x_adv)


def start(count: int = 1, loss: float = 1.0, device: str = "cpu") -> ops.ApgdState:
    x_adv = torch.zeros(count, 2, device=device)
    grad = torch.full((count, 2), 10.0, device=device)
    losses = torch.full((count,), loss, device=device)
    return ops.ApgdState.start(x_adv, grad, losses, torch.ones_like(losses).bool(), 0.25)


def track(
    state: ops.ApgdState, point: float, loss: float, correct: bool = True, window: int = 0
) -> Tensor:
    """Move every sample to `point`, say what was found there, and return the gradient."""
    state.x_adv.fill_(point)
    grad = torch.full_like(state.x_adv, 10 + point)
    losses = torch.full_like(state.loss_best, loss)
    ops.apgd_track_(state, grad, losses, torch.full_like(state.standing, correct), window)
    return grad


def values(tensor: Tensor) -> Any:
    return tensor.flatten()[0].item()


def test_the_best_point_follows_the_loss(device: str) -> None:
    state = start(device=device)
    track(state, 0.125, 2.0)
    track(state, 0.25, 1.5)
    assert (values(state.x_best), values(state.grad_best), values(state.loss_best)) == (
        0.125, 10.125, 2.0,
    )  # fmt: skip
    track(state, 0.5, float("nan"))
    assert values(state.x_best) == 0.125


def test_the_last_misclassified_point_is_kept_whatever_its_loss(device: str) -> None:
    state = start(device=device)
    track(state, 0.125, 5.0, correct=False)
    track(state, 0.25, 0.5, correct=False)
    track(state, 0.5, 9.0, correct=True)
    assert values(state.x_broken) == 0.25
    assert values(state.standing) is False


# Losses after the start's 1.0, the window, whether the step size is halved.
CHECKPOINTS = [
    ([2.0, 3.0, 4.0, 5.0], True, "rose at 4 of 4 steps", False),
    ([2.0, 3.0, 4.0, 3.0], True, "rose at 3 of 4, which is 75 %", True),
    ([0.5, 0.25, 0.125, 0.0625], True, "the first rises from the 0 of AutoAttack", True),
]


@pytest.mark.parametrize(("losses", "first", "why", "halved"), CHECKPOINTS)
def test_the_step_size_is_halved_where_the_loss_oscillates(
    losses: list[float], first: bool, why: str, halved: bool, device: str
) -> None:
    state = start(device=device)
    for i, loss in enumerate(losses):
        grad = track(state, 0.125 * (i + 1), loss, window=4 if i == 3 else 0)
    assert values(state.step_size) == (0.25 if halved else 0.5), why
    assert values(state.halved_at_check) is halved
    assert values(state.num_increases) == 0
    best = 0.125 * (1 + max(range(4), key=losses.__getitem__)) if max(losses) > 1 else 0.0
    assert values(state.x_adv) == (best if halved else 0.5), "halved walks go back to the best"
    assert values(grad) == (10 + best if halved else 10.5)


def test_the_step_size_is_halved_where_it_stood_and_nothing_improved(device: str) -> None:
    state = start(device=device)
    for i, loss in enumerate([2.0, 3.0, 4.0, 5.0]):
        track(state, 0.125, loss, window=4 if i == 3 else 0)
    assert values(state.step_size) == 0.5
    for i, loss in enumerate([1.0, 2.0, 3.0, 4.0]):  # 3 rises of 4 would do for neither
        track(state, 0.25, loss, window=3 if i == 3 else 0)
    assert values(state.step_size) == 0.25


def test_samples_are_tracked_each_for_itself(device: str) -> None:
    state = start(3, device=device)
    state.x_adv.copy_(torch.tensor([[1.0], [2.0], [3.0]], device=device).expand(3, 2))
    losses = torch.tensor([2.0, 0.5, 2.0], device=device)
    correct = torch.tensor([True, False, False], device=device)
    ops.apgd_track_(state, torch.ones(3, 2, device=device), losses, correct)
    assert state.x_best[:, 0].tolist() == [1.0, 0.0, 3.0]
    assert state.x_broken[:, 0].tolist() == [0.0, 2.0, 3.0]
    assert state.standing.tolist() == [True, False, False]
    assert state.loss_best.tolist() == [2.0, 1.0, 2.0]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_whole_run_matches_autoattack(norm: str) -> None:
    """The walk of pyautoattack's APGDAttack, from the same start, on a small network."""
    base = pytest.importorskip("pyautoattack.autopgd_base")
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(27, 16), torch.nn.Tanh(), torch.nn.Linear(16, 5)
    )
    x, labels = torch.rand(6, 3, 3, 3), torch.arange(6) % 5
    epsilon = 0.1 if norm == "linf" else 0.5
    begin = ops.random_start(x, torch.arange(6), epsilon, norm, 0, 0, on_boundary=True)
    attack = base.APGDAttack(
        net, n_iter=50, norm={"linf": "Linf", "l2": "L2"}[norm], eps=epsilon, device="cpu"
    )
    attack.init_hyperparam(x)
    best, _, loss_best, broken = attack.attack_single_run(x, labels, x_init=begin)

    def evaluate(point: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        inputs = point.detach().requires_grad_()
        logits = net(inputs)
        loss = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        (grad,) = torch.autograd.grad(loss.sum(), inputs)
        return grad, loss.detach(), logits.argmax(1) == labels

    state = ops.ApgdState.start(begin, *evaluate(begin), epsilon)
    grad, since, window = state.grad_best.clone(), 0, 11
    for i in range(50):
        ops.apgd_step_(state, x, grad, epsilon, norm, momentum=0.75 if i else 1.0)
        grad, loss, correct = evaluate(state.x_adv)
        since += 1
        ops.apgd_track_(state, grad, loss, correct, window if since == window else 0)
        if since == window:
            since, window = 0, max(window - 1, 3)
    torch.testing.assert_close(state.loss_best, loss_best.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(state.x_best, best.detach(), rtol=0, atol=1e-3)
    torch.testing.assert_close(state.x_broken, broken.detach(), rtol=0, atol=1e-3)


def test_empty_batches_are_taken(device: str) -> None:
    state = start(0, device=device)
    ops.apgd_step_(state, state.x_adv.clone(), state.grad_best, 0.1, "l2")
    ops.apgd_track_(state, state.grad_best.clone(), state.loss_best.clone(), state.standing.clone())


def test_wrong_arguments_are_named_with_what_was_expected() -> None:
    state = start(3)
    grad, loss, correct = torch.ones(3, 2), torch.ones(3), torch.ones(3).bool()
    with pytest.raises(ValueError, match=r"loss has shape \[2\], expected \[3\]"):
        ops.apgd_track_(state, grad, loss[:2], correct)
    with pytest.raises(TypeError, match="correct is Float, expected Bool"):
        ops.apgd_track_(state, grad, loss, loss)
    with pytest.raises(TypeError, match="loss is Double, expected Float"):
        ops.apgd_track_(state, grad, loss.double(), correct)
    with pytest.raises(ValueError, match="norm is 'l1', expected linf or l2"):
        ops.apgd_step_(state, state.x_adv, grad, 0.1, "l1")


def test_the_start_holds_its_own_memory() -> None:
    x_adv = torch.zeros(2, 3)
    state = ops.ApgdState.start(x_adv, x_adv, torch.ones(2), torch.ones(2).bool(), 0.1)
    places = [getattr(state, field.name).data_ptr() for field in fields(state)]
    assert len({*places, x_adv.data_ptr()}) == len(places) + 1

"""The inner attack of TRADES: rates, steps, the set it stays in, and what it does not compute."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pyrobust import ops
from pyrobust.attacks.inner_attack import InnerAttack
from pyrobust.config.training import TrainSettings


def attack(
    network: torch.nn.Module,
    x: Tensor,
    probs: Tensor,
    ids: Tensor,
    settings: TrainSettings,
    step: int = 0,
) -> Tensor:
    return InnerAttack(network, network, settings, cuda_graph=False)(x, ids, probs, step)


def make_settings(**changes: Any) -> TrainSettings:
    return TrainSettings(**{"attack_steps": 10, **changes})


def make_network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.SiLU(), torch.nn.Flatten(), torch.nn.Linear(36, 3)
    )


def make_images(count: int = 4) -> tuple[Tensor, Tensor]:
    x = torch.rand(count, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    return x, torch.arange(count)


@pytest.mark.parametrize(
    ("optimizer", "num_steps", "rates"),
    [
        ("adam", 10, [0.1] * 5 + [0.01] * 5),
        ("adam", 3, [0.1, 0.1, 0.01]),
        ("adam", 1, [0.1]),
        ("steepest", 4, [0.1] * 4),
    ],
)
def test_adam_takes_a_tenth_of_its_rate_in_the_second_half(
    optimizer: str, num_steps: int, rates: list[float]
) -> None:
    settings = make_settings(attack_optimizer=optimizer, attack_steps=num_steps)
    network = make_network()
    ours = InnerAttack(network, network, settings, cuda_graph=False)
    assert [ours.rate(step) for step in range(num_steps)] == pytest.approx(rates)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("optimizer", ["adam", "steepest"])
def test_the_attack_moves_away_from_the_clean_prediction_inside_the_set(
    norm: str, optimizer: str
) -> None:
    network, (x, ids) = make_network(), make_images()
    settings = make_settings(
        norm=norm, epsilon="0.1" if norm == "linf" else "0.5", attack_optimizer=optimizer
    )
    probs = network(x).softmax(1).detach()
    x_adv = attack(network, x, probs, ids, settings)
    threat = InnerAttack(network, network, settings, cuda_graph=False).threat
    assert threat.contains(x_adv, x).all()
    start = ops.random_start(x, ids, threat.epsilon, norm, 0, 0)
    before, after = (ops.cross_entropy(network(z).detach(), probs)[0] for z in (start, x_adv))
    assert (after > before).all()


def test_it_is_the_authors_attack_written_in_plain_pytorch() -> None:
    network, (x, ids) = make_network(), make_images()
    probs, epsilon = network(x).softmax(1).detach(), 0.1
    x_adv = ops.random_start(x, ids, epsilon, "linf", 5, 3)
    first, second = torch.zeros_like(x), torch.zeros_like(x)
    for step in range(1, 11):
        x_adv = x_adv.detach().requires_grad_()
        loss = -(probs * network(x_adv).log_softmax(1)).sum()
        (grad,) = torch.autograd.grad(loss, x_adv)
        first = 0.9 * first + 0.1 * grad
        second = 0.999 * second + 0.001 * grad.square()
        rate = 0.1 if step <= 5 else 0.01
        direction = (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-9)
        moved = x_adv.detach() + rate * direction
        x_adv = torch.minimum(torch.maximum(moved, x - epsilon), x + epsilon).clamp(0, 1)
    ours = attack(network, x, probs, ids, make_settings(epsilon="0.1", seed=5), step=3)
    torch.testing.assert_close(ours, x_adv, rtol=0, atol=2e-4)


def test_an_image_is_attacked_the_same_whatever_its_neighbours() -> None:
    network, (x, ids) = make_network().double(), make_images(6)
    x = x.double()
    probs = network(x).softmax(1).detach()
    whole = attack(network, x, probs, ids, make_settings())
    part = attack(network, x[4:], probs[4:], ids[4:], make_settings())
    torch.testing.assert_close(whole[4:], part)
    start = make_settings(attack_steps=0)
    other, same = (attack(network, x, probs, ids, start, step) for step in (1, 0))
    assert not torch.equal(other, same)


class ConvolutionGradients(TorchDispatchMode):
    """Records for each backward convolution whether a weight gradient was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.of_weights: list[bool] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.aten.convolution_backward.default:
            self.of_weights.append(bool(args[-1][1]))
        return func(*args, **(kwargs or {}))


def test_no_gradient_of_a_parameter_is_computed() -> None:
    network, (x, ids) = make_network(), make_images()
    probs = network(x).softmax(1).detach()
    with ConvolutionGradients() as seen:
        attack(network, x, probs, ids, make_settings())
    assert seen.of_weights == [False] * 10
    assert all(parameter.grad is None for parameter in network.parameters())

"""How a captured attack treats its tensors, with a stand-in for torch.cuda.

That a graph computes the same bits is tested on a GPU, in tests/training/test_training_step.py.
"""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pyrobust.attacks.inner_attack import InnerAttack
from pyrobust.config.training import TrainSettings

SETTINGS = TrainSettings(epsilon="0.1", attack_steps=3)


def ascend(network: nn.Module, x_adv: Tensor, x: Tensor, probs: Tensor) -> Tensor:
    return InnerAttack(network, network, SETTINGS, cuda_graph=False).ascend(x_adv, x, probs)


class HostGraph:
    """A graph whose replay runs the recorded steps again, on the same tensors."""

    captures = 0

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def replay(self) -> None:
        x_adv, x, probs = self.inputs
        self.output.copy_(ascend(self.network, x_adv, x, probs))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(36, 3))


@pytest.fixture
def captured(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a captured ascent on the host."""
    ascent: Any = InnerAttack(network, network, SETTINGS, cuda_graph=True)._ascend
    stream = SimpleNamespace(wait_stream=lambda other: None)

    class Graph(HostGraph):
        def __init__(self) -> None:
            super().__init__(network)
            HostGraph.captures += 1

        inputs = property(lambda self: ascent._inputs)
        output = property(lambda self: ascent._output)

    monkeypatch.setattr(HostGraph, "captures", 0)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, capture_error_mode: nullcontext())
    monkeypatch.setattr(torch.cuda, "Stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda aside: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
    return ascent


def make_batch(seed: int, count: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(count, 1, 5, 5, generator=generator)
    start = (x + 0.05 * torch.rand(x.shape, generator=generator)).clamp(0, 1)
    return start, x, torch.rand(count, 3, generator=generator).softmax(1)


def test_each_replay_attacks_the_batch_that_is_given(captured: Any, network: nn.Module) -> None:
    results = []
    for seed in range(3):
        start, x, probs = make_batch(seed)
        results.append(captured(start.clone(), x, probs))
        torch.testing.assert_close(
            results[-1], ascend(network, start.clone(), x, probs), rtol=0, atol=0
        )
    assert HostGraph.captures == 1
    again = captured(*make_batch(0))
    assert torch.equal(results[0], again)  # and no replay wrote over an earlier result


def test_another_size_is_captured_again(captured: Any, network: nn.Module) -> None:
    captured(*make_batch(0))
    start, x, probs = make_batch(1, count=2)
    ours = captured(start.clone(), x, probs)
    assert torch.equal(ours, ascend(network, start, x, probs))
    assert HostGraph.captures == 2


def test_parameters_ask_for_gradients_again_after_an_ascent(network: nn.Module) -> None:
    network[0].bias.requires_grad_(False)
    asking: list[bool] = []

    def logits(x: Tensor) -> Tensor:
        asking.extend(parameter.requires_grad for parameter in network.parameters())
        return network(x)

    InnerAttack(network, logits, SETTINGS, cuda_graph=False).ascend(*make_batch(0))
    assert not any(asking)
    assert [p.requires_grad for p in network.parameters()] == [True, False, True, True]

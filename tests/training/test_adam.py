"""Updates by Adam: skipped where loss or gradients are not finite, resumed in any memory layout."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from pyrobust.training.adam import AdamUpdate
from pyrobust.training.data_parallel import Processes


class TwoProcesses(Processes):
    """Stands for a run whose other process has the same gradients, and `loss` as its loss."""

    loss = 0.0

    def average_(self, tensors: Sequence[Tensor]) -> None:
        for tensor in tensors:
            if tensor.dim() == 0:  # the loss
                tensor.copy_((tensor + self.loss) / 2)


def make_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.Conv2d(4, 3, 3))


def backward(network: nn.Module, factor: float = 1.0) -> Tensor:
    loss: Tensor = network(torch.ones(1, 2, 6, 6)).square().mean() * factor
    loss.backward()
    return loss


def weights_of(network: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


@pytest.mark.parametrize(
    ("factor", "loss_elsewhere", "made"),
    [
        (1.0, 0.0, True),
        (float("inf"), 0.0, False),
        (float("nan"), 0.0, False),
        (1.0, float("inf"), False),
    ],
)
def test_all_processes_skip_what_is_not_finite_in_one(
    factor: float, loss_elsewhere: float, made: bool
) -> None:
    network, processes = make_network(), TwoProcesses(torch.device("cpu"), 0, 2)
    object.__setattr__(processes, "loss", loss_elsewhere)
    update = AdamUpdate(network, processes)
    before = weights_of(network)
    update.step(backward(network, factor), 0.1)
    assert (update.skips == 0) == made
    assert weights_of(network).equal(before) != made
    assert all(parameter.grad is None for parameter in network.parameters())


def test_gradients_of_the_limit_or_more_are_skipped() -> None:
    network = make_network()
    update = AdamUpdate(network, Processes(torch.device("cpu")))
    norm = update.step(backward(network), 0.0)
    update.step(backward(network), 0.1, skip_norm=float(norm))
    assert update.skips == 1
    update.step(backward(network), 0.1, skip_norm=float(norm) * 1.01)
    assert update.skips == 1


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_fused_update_resumes_with_the_same_bits(layout: torch.memory_format) -> None:
    def make() -> tuple[nn.Module, AdamUpdate]:
        network = make_network().to(memory_format=layout)
        return network, AdamUpdate(network, Processes(torch.device("cpu")), fused=True)

    network, update = make()
    for _ in range(3):
        update.step(backward(network), 0.1)
    # As a state comes back from a file: without the layout.
    saved = {name: value.clone().contiguous() for name, value in update.state().items()}
    again, resumed = make()
    resumed.load_state(saved)
    for each in (update, resumed):
        each.step(backward(each.network), 0.1)
    assert weights_of(again).equal(weights_of(network))

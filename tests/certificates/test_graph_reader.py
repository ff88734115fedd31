"""Reading networks of all layers, options and spellings; sound bounds, or a refusal."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyrobust import ops
from pyrobust.attacks import ThreatModel
from pyrobust.certificates.certify import BoundMethod, certified_margins
from pyrobust.certificates.graph_reader import graph_of
from pyrobust.config.fields import Norm
from pyrobust.errors import UserError
from tests.certificates.varied_networks import SHAPE, varied_network

RADII: dict[Norm, float] = {"linf": 0.02, "l2": 0.1, "l1": 0.3}
METHODS: tuple[BoundMethod, ...] = ("ibp", "crown_ibp", "crown")


def margins(network: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    logits = network(x.clone())  # some networks write into their input
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    return logits.gather(1, labels[:, None])[:, 0] - others


@pytest.mark.parametrize("seed", range(24))
def test_varied_networks_are_read_exactly_and_their_bounds_hold(seed: int) -> None:
    network = varied_network(seed)
    x = torch.rand((4, *SHAPE), generator=torch.Generator().manual_seed(seed))
    graph = graph_of(network, x[:1])
    torch.testing.assert_close(graph(x.double()).float(), network(x.clone()), rtol=1e-4, atol=1e-4)
    labels = network(x.clone()).argmax(1)
    norm = list(RADII)[seed % 3]
    threat = ThreatModel(norm, RADII[norm])
    bounds = torch.stack([certified_margins(graph, x, labels, threat, m) for m in METHODS])
    for stream in range(20):
        point = ops.random_start(x, torch.arange(4), threat.epsilon, norm, seed, stream, True)
        assert (bounds <= margins(network, point, labels)).all()
    assert (bounds[1:] >= bounds[0] - 1e-6).all()


FACTOR = torch.tensor([0.5, -2.0]).view(2, 1, 1)


class Spelled(nn.Module):
    """A network of one function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def over_another_name(x: Tensor) -> Tensor:
    """Its value differs from that of x = x + 1 and so on."""
    x = x - 0.5
    before = x
    x += 1
    x *= 2
    x -= 0.2
    x /= 4
    return (x + before).flatten(1)


def under_a_view(x: Tensor) -> Tensor:
    x = x - 0.5
    flat = x.view(x.size(0), -1)
    flat += 1
    return x.flatten(1)


def over_a_view(x: Tensor) -> Tensor:
    flat = x.flatten(1)
    return F.relu(x, inplace=True).flatten(1) + flat


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (over_a_view, "a view of values that another step writes over"),
        (under_a_view, "a view of values that another step writes over"),
        (lambda x: torch.flatten(input=x, start_dim=1), "takes its input by name"),
        (lambda x: (x * x.size(0)).flatten(1), "computes with the number of images"),
        (lambda x: x.mean(x.size(0)).flatten(1), "depends on the number of images"),
        (lambda x: x.reshape(-1, 2 * 6), "over the images of a batch"),
        (lambda x: x.permute(1, 0, 2, 3).flatten(1), "over the images of a batch"),
        (lambda x: F.avg_pool2d(x, x).flatten(1), "an argument that depends on the image"),
        (lambda x: (FACTOR - x).flatten(1), "a constant minus or divided by a value"),
        (lambda x: x.add(x, alpha=2).flatten(1), "for which no bounds are known"),
        (lambda x: x.mul_(2).flatten(1), "for which no bounds are known"),
    ],
)
def test_what_cannot_be_read_exactly_is_refused(
    function: Callable[[Tensor], Tensor], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        graph_of(Spelled(function), torch.rand(1, *SHAPE))


@pytest.mark.parametrize("inplace", [False, True])
def test_a_value_is_what_was_written_over_it(inplace: bool) -> None:
    """In place, both terms of the sum are the activation."""

    def twice(x: Tensor) -> Tensor:
        return (F.relu(x, inplace) + x).flatten(1)

    network, x = Spelled(lambda x: twice(x - 0.5)), torch.rand(3, *SHAPE)
    found = graph_of(network, x[:1])(x.double()).float()
    torch.testing.assert_close(found, network(x))
    assert bool(found.min() < 0) is not inplace


def test_a_name_is_what_augmented_assignments_wrote_over_it() -> None:
    network, x = Spelled(over_another_name), torch.rand(3, *SHAPE)
    found = graph_of(network, x[:1])(x.double()).float()
    torch.testing.assert_close(found, network(x))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: FACTOR * x,
        lambda x: FACTOR + x,
        lambda x: x.sub(FACTOR).add(x).mul(2).div(FACTOR),
    ],
)
def test_a_constant_may_stand_on_either_side(function: Callable[[Tensor], Tensor]) -> None:
    network, x = Spelled(lambda x: function(x).flatten(1)), torch.rand(3, *SHAPE)
    found = graph_of(network, x[:1])(x.double()).float()
    torch.testing.assert_close(found, network(x))


@pytest.mark.parametrize("layer", [nn.ReLU(), nn.Identity(), nn.AvgPool2d(2), nn.BatchNorm2d(2)])
def test_a_layer_with_a_forward_method_of_its_own_is_refused(layer: nn.Module) -> None:
    layer.forward = lambda x: x.square()  # type: ignore[method-assign]
    with pytest.raises(UserError, match="has a forward method of its own"):
        graph_of(nn.Sequential(layer, nn.Flatten()), torch.rand(1, *SHAPE))


class WithParameter(nn.Module):
    """A layer, a parameter, and how they meet."""

    def __init__(self, function: Callable[[Tensor, Tensor, nn.Module], Tensor]) -> None:
        super().__init__()
        self.function, self.layer = function, nn.Linear(72, 4)
        self.scale = nn.Parameter(torch.rand(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.scale, self.layer)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, scale, layer: layer((x * scale.view(1, 2, 1, 1)).flatten(1)),
        lambda x, scale, layer: layer((x * scale.mean(0)).flatten(1)),
        lambda x, scale, layer: layer((x * F.relu(scale).sum()).flatten(1)),
        lambda x, scale, layer: layer(x.flatten(1)) + layer(torch.ones(1, 72)),
        lambda x, scale, layer: layer(x.reshape(scale.size(0), -1)),
    ],
)
def test_steps_on_constants_alone_are_refused(
    function: Callable[[Tensor, Tensor, nn.Module], Tensor],
) -> None:
    with pytest.raises(UserError, match="computes with constants alone"):
        graph_of(WithParameter(function), torch.rand(1, *SHAPE))

"""Bounds: the graph computes the network, and no certified image is ever broken."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from pyrobust import ops
from pyrobust.attacks import ApgdSettings, ThreatModel, apgd
from pyrobust.certificates.certify import certified_margins
from pyrobust.certificates.crown import Crown
from pyrobust.certificates.graph import gamma
from pyrobust.certificates.graph_reader import graph_of
from pyrobust.certificates.interval import Bounds, interval_bounds
from pyrobust.certificates.region import Region
from pyrobust.certificates.relaxations import relax
from pyrobust.errors import UserError
from tests.attacks.linear import linear_task
from tests.certificates.networks import SHAPE, of_this_project, random_network

EPSILON = {"linf": 0.02, "l2": 0.1, "l1": 0.3}
METHODS = ("ibp", "crown_ibp", "crown")


def images(count: int, seed: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.rand((count, *shape), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("architecture", ["wrn-10-1", "resnet-18"])
@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_the_graph_of_this_projects_networks_computes_their_logits(
    architecture: str, activation: str
) -> None:
    network, x = of_this_project(architecture, activation, 0), images(3, 0, (1, 8, 8))
    graph = graph_of(network, x[:1])
    torch.testing.assert_close(graph(x.double()).float(), network(x), rtol=1e-4, atol=1e-4)
    assert graph.num_classes == 4


@pytest.mark.parametrize("seed", range(6))
def test_the_graph_of_plain_networks_computes_their_logits(seed: int) -> None:
    network, x = random_network(seed), images(3, seed)
    graph = graph_of(network, x[:1])
    torch.testing.assert_close(graph(x.double()), network.double()(x.double()))


@pytest.mark.parametrize("norm", EPSILON)
@pytest.mark.parametrize("seed", range(6))
def test_bounds_hold_at_all_points_of_the_region_and_crown_is_tighter(seed: int, norm: str) -> None:
    network, x = random_network(seed), images(5, seed)
    graph = graph_of(network, x[:1])
    labels = network(x).argmax(1)
    region = Region(x.double(), norm, EPSILON[norm])
    lower = Crown(graph, region, refine=True).margins(labels)
    loose = Crown(graph, region, refine=False).margins(labels)
    logits = interval_bounds(graph, region.box)
    for stream in range(200):
        point = ops.random_start(
            x.double(), torch.arange(5), EPSILON[norm], norm, 0, stream, stream % 2 == 0
        )
        found = graph(point)
        assert (found >= logits.lower).all() and (found <= logits.upper).all()
        gaps = found.gather(1, labels[:, None]) - found
        others = torch.arange(4) != labels[:, None]
        assert (gaps[others].view(5, 3) >= lower).all()
    assert (lower >= loose - 1e-9).all()
    assert (lower.amin(1) > (logits.lower.gather(1, labels[:, None])[:, 0] - logits.upper.scatter(
        1, labels[:, None], -torch.inf).amax(1)) - 1e-9).all()  # fmt: skip


@pytest.mark.parametrize("norm", EPSILON)
def test_no_certified_image_is_ever_broken(norm: str) -> None:
    """Over random networks, kinds, radii and methods, by the strongest single attack."""
    certified = broken = 0
    for seed in range(60):
        network, x = random_network(seed), images(8, seed)
        labels = network(x).argmax(1)
        threat = ThreatModel(norm, EPSILON[norm] * (0.3, 1.0, 3.0)[seed % 3])
        graph = graph_of(network, x[:1])
        margins = certified_margins(graph, x, labels, threat, METHODS[1 + seed % 2])
        x_adv = apgd(network, x, labels, torch.arange(8), ApgdSettings(threat, "margin", 30, 1), 0)
        fell = network(x_adv).argmax(1) != labels
        assert not (fell & (margins > 0)).any(), (seed, norm)
        certified, broken = certified + int((margins > 0).sum()), broken + int(fell.sum())
    assert certified > 60 and broken > 30, "the case tells nothing"


@pytest.mark.parametrize("norm", EPSILON)
@pytest.mark.parametrize("method", ["crown_ibp", "crown"])
def test_linear_networks_are_decided_exactly(norm: str, method: str) -> None:
    threat = ThreatModel(norm, {"linf": 0.02, "l2": 0.12, "l1": 0.12}[norm])
    linear, x, labels = linear_task(5, 200, 0.12, seed=1)
    layer = nn.Linear(36, 5)
    layer.weight.data, layer.bias.data = linear.weight, linear.bias
    graph = graph_of(nn.Sequential(nn.Flatten(), layer).requires_grad_(False), x[:1])
    margins = certified_margins(graph, x, labels, threat, method)
    robust = linear.is_robust(x, labels, norm, threat.epsilon)
    decided = margins.abs() > 1e-3
    assert decided.sum() > 190 and 20 < robust.sum() < 180
    assert torch.equal((margins > 0)[decided], robust[decided])


@pytest.mark.parametrize("method", METHODS)
def test_monotone_networks_are_decided_exactly(method: str) -> None:
    """Where the margin rises with each pixel and each unit, the darkest image is the worst."""
    torch.manual_seed(0)
    first, last = nn.Linear(36, 8), nn.Linear(8, 2)
    first.weight.data.uniform_(0, 0.2)
    first.bias.data.uniform_(-3, 0)
    last.weight.data[0].uniform_(0, 1)
    last.weight.data[1], last.bias.data = torch.zeros(8), torch.zeros(2)
    network = nn.Sequential(nn.Flatten(), first, nn.ReLU(), last).requires_grad_(False)
    x, labels = images(400, 0), torch.zeros(400, dtype=torch.int64)
    darkest = network((x - 0.03).clamp(0, 1))[:, 0]
    last.bias[1] = darkest.median()
    exact = darkest - last.bias[1]
    margins = certified_margins(
        graph_of(network, x[:1]), x, labels, ThreatModel("linf", 0.03), method
    )
    decided = exact.abs() > 1e-3
    assert decided.sum() > 390 and 150 < (exact > 0).sum() < 250
    assert torch.equal((margins > 0)[decided], (exact > 0)[decided])


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_minima_over_ball_and_pixel_range_are_exact(norm: str) -> None:
    """Against a fine search over two pixels near the border of the range."""
    x = torch.tensor([[0.05, 0.6], [0.9, 0.98]], dtype=torch.float64).view(2, 1, 1, 2)
    region = Region(x, norm, 0.3)
    weights = torch.tensor([[1.0, 0.4], [-1.0, -2.0], [0.2, 1.0]], dtype=torch.float64)
    weights = weights.view(1, 3, 1, 1, 2).expand(2, 3, 1, 1, 2)
    axis = torch.linspace(-0.3, 0.3, 1201, dtype=torch.float64)
    move = torch.cartesian_prod(axis, axis)
    inside = (move.abs().sum(1) if norm == "l1" else move.norm(dim=1)) <= 0.3
    exact = region.least_exact(weights)
    for image in range(2):
        points = x[image].flatten() + move[inside]
        points = points[((points >= 0) & (points <= 1)).all(1)]
        best = (points @ weights[image].flatten(1).T).amin(0)
        assert (exact[image] <= best + 1e-9).all()
        torch.testing.assert_close(exact[image], best, rtol=0, atol=2e-3)
    assert (exact >= region.least(weights) - 1e-12).all()


@pytest.mark.parametrize("name", ["relu", "silu"])
def test_lines_enclose_the_activation(name: str) -> None:
    random = torch.Generator().manual_seed(0)
    ends = 12 * torch.rand(2, 400, generator=random, dtype=torch.float64) - 8
    ends[1, :20] = ends[0, :20] + 1e-9
    ends[:, 20:40] = ends[0, 20:40]
    at = Bounds(ends.amin(0), ends.amax(0))
    lines = relax(name, at)
    function = torch.relu if name == "relu" else torch.nn.functional.silu
    for share in torch.linspace(0, 1, 1501, dtype=torch.float64):
        x = at.lower + share * (at.upper - at.lower)
        x = x.clamp(at.lower, at.upper)
        assert (lines.lower_slope * x + lines.lower_intercept <= function(x)).all()
        assert (lines.upper_slope * x + lines.upper_intercept >= function(x)).all()


def test_bounds_include_rounding() -> None:
    """Sums whose float64 value is off by more than their last bit still lie inside."""
    layer = nn.Linear(3, 2, bias=False).double()
    layer.weight.data[0] = torch.tensor([1e16, 1.0, -1e16])
    layer.weight.data[1] = 0
    network = nn.Sequential(nn.Flatten(), layer).requires_grad_(False)
    x = torch.ones(1, 1, 1, 3, dtype=torch.float64)
    bounds = interval_bounds(graph_of(network, x), Bounds(x, x))
    assert bounds.lower[0, 0] <= 1 <= bounds.upper[0, 0]
    assert bounds.upper[0, 0] - bounds.lower[0, 0] < 1000


class Softmax(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(x.flatten(1), 1)


class Product(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        return flat * flat


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) if x.sum() > 0 else -x.flatten(1)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Softmax(), "softmax"),
        (Product(), "another way than by a sum"),
        (Branches(), "cannot be read as a graph"),
        (nn.Sequential(nn.Flatten(), nn.GELU()), "GELU, for which no bounds are known"),
        (nn.Conv2d(1, 1, 3), "logits of shape"),
        (nn.Sequential(nn.Conv2d(1, 1, 1, padding_mode="reflect"), nn.Flatten()), "zeros"),
    ],
)  # fmt: skip
def test_networks_without_known_bounds_are_refused(network: nn.Module, message: str) -> None:
    with pytest.raises(UserError, match=message):
        graph_of(network.requires_grad_(False), images(1, 0))


class Shift(nn.Module):
    def __init__(self, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        return x - self.shift


class LessMean(nn.Module):
    def __init__(self, dim: int | None, keepdim: bool) -> None:
        super().__init__()
        self.dim, self.keepdim = dim, keepdim

    def forward(self, x: Tensor) -> Tensor:
        return (x + x.mean(self.dim, keepdim=self.keepdim)).flatten(1)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (LessMean(0, True), "images of a batch"),
        (LessMean(None, False), "images of a batch"),
        (LessMean(-4, False), "images of a batch"),
        (nn.Flatten(0), "images of a batch"),
        (nn.Sequential(Shift(torch.rand(2, 1, 6, 6)), nn.Flatten()), "one for all images"),
        (nn.Sequential(Shift(torch.rand(1, 1, 1, 6, 6)), nn.Flatten()), "one for all images"),
        (nn.Sequential(nn.AvgPool2d(2, divisor_override=-4), nn.Flatten()), "negative weights"),
    ],
)
def test_steps_that_mix_images_are_refused(network: nn.Module, message: str) -> None:
    with pytest.raises(UserError, match=message):
        graph_of(network, images(1, 0))


@pytest.mark.parametrize("method", METHODS)
def test_constants_may_have_more_channels_than_the_image(method: str) -> None:
    torch.manual_seed(0)
    shift = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1)
    network = nn.Sequential(Shift(shift), nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(),
                            nn.Linear(32, 3)).requires_grad_(False)  # fmt: skip
    x = images(4, 0)
    graph = graph_of(network, x[:1])
    torch.testing.assert_close(graph(x.double()).float(), network(x))
    labels = network(x).argmax(1)
    margins = certified_margins(graph, x, labels, ThreatModel("linf", 0.001), method)
    logits = network(x)
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    clean = logits.gather(1, labels[:, None])[:, 0] - others
    assert (margins <= clean).all() and (margins > clean - 0.1).all()


def normed(kind: str) -> nn.Module:
    """Return a trained-like network whose first layer is changed by torch's utilities."""
    torch.manual_seed(1)
    layer = nn.Linear(16, 8)
    if kind == "prune":
        prune.l1_unstructured(layer, "weight", 0.5)
    elif kind in ("spectral_norm", "weight_norm"):
        layer = {"spectral_norm": spectral_norm, "weight_norm": weight_norm}[kind](layer)
    elif kind.startswith("register"):
        getattr(layer, kind)(lambda *given: None)
    else:
        layer = getattr(parametrizations, kind.removeprefix("parametrized_"))(layer)
    network = nn.Sequential(nn.Flatten(), layer, nn.ReLU(), nn.Linear(8, 3))
    with torch.no_grad():
        network(images(1, 0, (1, 4, 4)))
    return network.eval()


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize(
    "kind", ["spectral_norm", "weight_norm", "prune", "register_forward_hook",
             "register_forward_pre_hook", "register_full_backward_hook"],
)  # fmt: skip
def test_layers_with_hooks_are_refused(kind: str) -> None:
    """A hook may write the signed weights over their absolute values, or change the output."""
    with pytest.raises(UserError, match=r"layer 1 \(Linear\) has hooks.*remove_spectral_norm"):
        graph_of(normed(kind), images(1, 0, (1, 4, 4)))


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize("kind", ["export", "jit"])
def test_networks_from_files_of_operations_are_refused(kind: str) -> None:
    """An exported module guards its inputs by hooks, which nobody can remove."""
    network, x = random_network(0), images(2, 0)
    if kind == "export":
        loaded = torch.export.export(network, (x,)).module()
    else:
        loaded = torch.jit.trace(network, x)
    with pytest.raises(UserError, match=r"operations instead of layers.*--model MODULE:NAME"):
        graph_of(nn.Sequential(loaded), x[:1])


@pytest.mark.parametrize("kind", ["parametrized_spectral_norm", "parametrized_weight_norm"])
def test_bounds_of_parametrized_layers_hold(kind: str) -> None:
    network, x = normed(kind).requires_grad_(False), torch.full((1, 1, 4, 4), 0.5)
    graph = graph_of(network, x)
    at = Bounds(x.double() - 0.1, x.double() + 0.1)
    bounds = interval_bounds(graph, at)
    corners = 0.5 + 0.1 * (2 * (images(500, 1, (1, 4, 4)) > 0.5) - 1).double()
    found = network.double()(corners)
    assert (found >= bounds.lower).all() and (found <= bounds.upper).all()
    sizes = graph.nodes[1].step.magnitude(torch.ones(1, 16, dtype=torch.float64))
    torch.testing.assert_close(sizes[0], network[1].weight.abs().sum(1))


class Own(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input)


def test_layers_that_compute_otherwise_than_their_class_are_refused() -> None:
    layer = nn.Linear(36, 3)
    layer.forward = lambda x: x[:, :3] ** 2  # type: ignore[method-assign]
    for changed in (layer, Own(36, 3)):
        with pytest.raises(UserError, match="bounds are known"):
            graph_of(nn.Sequential(nn.Flatten(), changed), images(1, 0))


def test_rounding_counts_the_longest_sum_forwards_and_backwards() -> None:
    wide = nn.Sequential(nn.Flatten(), nn.Linear(36, 900), nn.Linear(900, 2))
    assert graph_of(wide, images(1, 0)).rounding >= gamma(900 + 900 + 900)
    narrow = nn.Sequential(nn.Conv2d(1, 50, 3), nn.AvgPool2d(3, 1), nn.Flatten())
    steps = [node.step.terms for node in graph_of(narrow, images(1, 0)).nodes]
    assert steps[0] == 50 * 9 and steps[1] >= 9


def test_the_measured_difference_of_float32_is_subtracted() -> None:
    network, x = random_network(0), images(5, 0)
    graph, labels = graph_of(network, x[:1]), network(x).argmax(1)
    threat = ThreatModel("linf", 0.01)
    plain, small, large = (
        certified_margins(graph, x, labels, threat, "crown", difference)
        for difference in (0.0, 1e-9, 1e-2)
    )
    assert torch.equal(plain, small)
    assert (plain - large > 0.09).all()


def test_a_certificate_covers_the_tolerance_of_the_judge() -> None:
    """A point that the evaluation accepts may lie a rounding outside of the ball."""
    threat = ThreatModel("linf", 0.25)
    layer = nn.Linear(1, 2)
    layer.weight.data = torch.tensor([[0.0], [1.0]])
    layer.bias.data = torch.tensor([0.75, 0.0])
    graph = graph_of(
        nn.Sequential(nn.Flatten(), layer).requires_grad_(False), images(1, 0, (1, 1, 1))
    )
    x = torch.tensor([0.5 - 1e-7]).view(1, 1, 1, 1)
    assert math.isclose(0.75 - float(x) - 0.25, 1e-7, rel_tol=0.3)
    assert certified_margins(graph, x, torch.tensor([0]), threat, "crown")[0] < 0

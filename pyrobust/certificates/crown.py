"""Linear bounds, propagated backwards (CROWN, Zhang et al. 2018)."""

import math

import torch
from torch import Tensor

from pyrobust.certificates.graph import Activation, Affine, Graph, Sum
from pyrobust.certificates.interval import Bounds, step_bounds
from pyrobust.certificates.region import Region
from pyrobust.certificates.relaxations import Lines, relax

# Float64 numbers of one tensor of a backward pass: 64 MiB.
_CHUNK = 2**23


class Crown:
    """Bounds of all nodes of a graph over regions around images.

    All bounds hold in real arithmetic: intervals are rounded outwards, lines enclose their
    activation with a margin, and from each backward sum the largest rounding error of a sum of
    products with these magnitudes is subtracted (`Graph.rounding`, which counts the forward and
    the backward sums, and those over pixels).

    Args:
        refine: whether the bounds before each activation are computed by backward passes (CROWN)
            or by intervals alone (CROWN-IBP, Zhang et al. 2020).
    """

    def __init__(self, graph: Graph, region: Region, refine: bool) -> None:
        self._graph, self._region = graph, region
        self._bounds: list[Bounds] = []
        self._lines: dict[int, Lines] = {}
        self._sizes: list[Tensor] = []
        takers = _activations_by_input(graph)
        for place, node in enumerate(graph.nodes):
            given = [self._at(i) for i in node.inputs]
            found = step_bounds(node.step, given)
            if isinstance(node.step, Activation):
                self._lines[place] = relax(node.step.name, given[0])
            self._sizes.append(self._size(place))
            if refine and place in takers:
                found = self._refined(place, found, takers[place])
            self._bounds.append(found)

    def margins(self, labels: Tensor) -> Tensor:
        """Return lower bounds of z_y - z_j for the classes j ≠ y, (N, K - 1)."""
        classes, count = self._graph.num_classes, len(labels)
        eye = torch.eye(classes, dtype=torch.float64, device=labels.device)
        others = (torch.arange(classes, device=labels.device) != labels[:, None]).nonzero()[:, 1]
        spec = eye[labels][:, None] - eye[others.view(count, classes - 1)]
        last = len(self._graph.nodes) - 1
        lower = self._backward(last, spec, exact=True)
        bounds = self._bounds[-1]
        apart = bounds.lower.gather(1, labels[:, None]) - bounds.upper.gather(
            1, others.view(count, classes - 1)
        )
        return torch.maximum(lower, apart)

    @property
    def logits(self) -> Bounds:
        """Bounds of the logits, (N, K)."""
        return self._bounds[-1]

    def _at(self, place: int) -> Bounds:
        return self._region.box if place < 0 else self._bounds[place]

    def _size(self, place: int) -> Tensor:
        """Return a bound on the sums of absolute products at a node, (N, *shape)."""
        node = self._graph.nodes[place]
        given = [self._image_size() if i < 0 else self._sizes[i] for i in node.inputs]
        if isinstance(node.step, Affine):
            size = node.step.magnitude(given[0])
            return size if node.step.bias is None else size + node.step.bias.abs()
        if isinstance(node.step, Sum):
            return given[0] + given[1]
        lines = self._lines[place]
        return lines.largest_slope * given[0] + lines.largest_intercept

    def _image_size(self) -> Tensor:
        return torch.full_like(self._region.x, 1 + self._region.epsilon)

    def _refined(self, place: int, found: Bounds, names: set[str]) -> Bounds:
        """Return the tighter ones of interval and backward bounds, where they matter."""
        open_ = found.lower < found.upper
        if names == {"relu"}:  # others are linear between their bounds
            open_ = open_ & (found.lower < 0) & (found.upper > 0)
        chosen = open_.flatten(1).any(0).nonzero()[:, 0]
        lower, upper = found.lower.flatten(1).clone(), found.upper.flatten(1).clone()
        count, length = lower.shape
        shape = self._graph.nodes[place].shape
        largest = max(math.prod(node.shape) for node in self._graph.nodes[: place + 1])
        for some in torch.split(chosen, max(1, _CHUNK // (count * largest))):
            spec = torch.zeros(1, len(some), length, dtype=lower.dtype, device=lower.device)
            spec[0, torch.arange(len(some)), some] = 1
            spec = spec.view(1, len(some), *shape).expand(count, *(-1,) * (len(shape) + 1))
            lower[:, some] = torch.maximum(lower[:, some], self._backward(place, spec))
            upper[:, some] = torch.minimum(upper[:, some], -self._backward(place, -spec))
        return Bounds(lower.view_as(found.lower), upper.view_as(found.upper))

    def _backward(self, place: int, spec: Tensor, exact: bool = False) -> Tensor:
        """Return lower bounds of the sum of spec * value at a node, (N, S).

        Args:
            spec: (N, S, *shape).
            exact: whether the last step takes the region itself and not a larger one.
        """
        size = (spec.abs() * self._sizes[place][:, None]).flatten(2).sum(2)
        constant = torch.zeros_like(size)
        pending = {place: spec}
        for here in range(place, -1, -1):
            weights = pending.pop(here, None)
            if weights is None:
                continue
            node = self._graph.nodes[here]
            if isinstance(node.step, Sum):
                back = weights
            elif isinstance(node.step, Affine):
                if node.step.bias is not None:
                    constant = constant + (weights * node.step.bias).flatten(2).sum(2)
                back = _transposed(node.step, weights, self._shape(node.inputs[0]))
            else:
                lines = self._lines[here]
                up, down = weights.clamp_min(0), weights.clamp_max(0)
                back = up * lines.lower_slope[:, None] + down * lines.upper_slope[:, None]
                shift = up * lines.lower_intercept[:, None] + down * lines.upper_intercept[:, None]
                constant = constant + shift.flatten(2).sum(2)
            for taken in node.inputs:
                pending[taken] = pending[taken] + back if taken in pending else back
        weights = pending[-1]
        least = self._region.least_exact(weights) if exact else self._region.least(weights)
        return constant + least - self._graph.rounding * size

    def _shape(self, place: int) -> tuple[int, ...]:
        return self._graph.image_shape if place < 0 else self._graph.nodes[place].shape


def _activations_by_input(graph: Graph) -> dict[int, set[str]]:
    """Return which activations take a node, for those that any takes."""
    takers: dict[int, set[str]] = {}
    for node in graph.nodes:
        if isinstance(node.step, Activation) and node.inputs[0] >= 0:
            takers.setdefault(node.inputs[0], set()).add(node.step.name)
    return takers


def _transposed(step: Affine, weights: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return weights (N, S, *out) times the matrix of an affine map, (N, S, *shape)."""
    count = weights.shape[:2]
    with torch.enable_grad():
        point = weights.new_zeros(count[0] * count[1], *shape).requires_grad_()
        (back,) = torch.autograd.grad(step.linear(point), point, weights.flatten(0, 1))
    return back.view(*count, *shape)

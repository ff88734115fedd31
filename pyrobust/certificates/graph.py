"""A network as a list of affine maps, activations and sums, whose bounds can be computed.

torch.fx reads the network's code; nothing else of it is run. Supported are convolutions, linear
layers, batch norm in evaluation mode, average pooling, means, flattening, shifts and scalings by
constants, ReLU, SiLU, and sums of two branches: the networks of this project and plain
`nn.Sequential`s.
"""

import copy
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from pyrobust.errors import UserError
from pyrobust.models.batch_norm import BatchNorm
from pyrobust.models.layers import Conv3x3

ActivationName = Literal["relu", "silu"]
Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Affine:
    """x -> linear(x) + bias, over batches of any size.

    Attributes:
        linear: without the bias.
        magnitude: the same with all weights replaced by their absolute values.
        bias: broadcasts to one output; None for none.
        terms: products that are added up for one output, at most.
    """

    linear: Map
    magnitude: Map
    bias: Tensor | None
    terms: int

    def __call__(self, x: Tensor) -> Tensor:
        """Return linear(x) + bias."""
        y = self.linear(x)
        return y if self.bias is None else y + self.bias


@dataclass(frozen=True)
class Activation:
    """An activation of each element by itself."""

    name: ActivationName

    def __call__(self, x: Tensor) -> Tensor:
        """Return the activation of x."""
        return F.relu(x) if self.name == "relu" else F.silu(x)


@dataclass(frozen=True)
class Sum:
    """The sum of two nodes of one shape."""


@dataclass(frozen=True)
class Node:
    """One step of a network.

    Attributes:
        inputs: places of the nodes it takes; -1 is the image.
        shape: of its value for one image.
    """

    step: Affine | Activation | Sum
    inputs: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """The nodes of a network in the order of computation; the last one is its logits."""

    nodes: tuple[Node, ...]
    image_shape: tuple[int, int, int]

    @property
    def num_classes(self) -> int:
        """K."""
        return self.nodes[-1].shape[0]

    @property
    def rounding(self) -> float:
        """Relative error of a sum of products along any path, in float64.

        It is gamma_n = n u / (1 - n u) (Higham 2002, Lemma 3.1) for all roundings of the graph.
        """
        return gamma(sum(n.step.terms + 4 if isinstance(n.step, Affine) else 8 for n in self.nodes))

    def __call__(self, x: Tensor) -> Tensor:
        """Return the logits (N, K) of images (N, C, H, W), in the type of the graph."""
        values: list[Tensor] = []
        for node in self.nodes:
            given = [x if place < 0 else values[place] for place in node.inputs]
            if isinstance(node.step, Sum):
                values.append(given[0] + given[1])
            else:
                values.append(node.step(given[0]))
        return values[-1]


def gamma(count: int) -> float:
    """Return the bound on the relative error of `count` roundings in float64."""
    unit = count * 2.0**-53
    return unit / (1 - unit)


def graph_of(network: nn.Module, image: Tensor, dtype: torch.dtype | None = torch.float64) -> Graph:
    """Return the graph of a network, in evaluation mode.

    Args:
        network: maps images to logits (N, K). It is copied unless dtype is None.
        image: (1, C, H, W), on the device of the network; only its shape is read.
        dtype: of the graph; None keeps the network's own parameters, for training.

    Raises:
        UserError: the network contains something else than what is listed above.
    """
    if dtype is not None:
        network = copy.deepcopy(network).to(dtype).eval()
    network = nn.Sequential(network)  # a single layer is a step, too
    try:
        traced = _Tracer().trace(network)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"the code of {type(network[0]).__name__} cannot be read as a graph ({reason}); "
            "certificates need a network of convolutions, linear layers, ReLU and SiLU, or use "
            "--method smoothing"
        ) from error
    builder = _Builder(network, image.new_zeros(image.shape, dtype=dtype or image.dtype))
    for node in traced.nodes:
        builder.take(node)
    return builder.graph()


class _Tracer(fx.Tracer):
    """Takes this project's layers as one step, since their code looks at shapes."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Conv3x3 | BatchNorm) or super().is_leaf_module(
            m, module_qualified_name
        )


@dataclass(frozen=True)
class _Known:
    """The value of a traced node: place and value for one image; or a constant."""

    place: int | None
    value: Any


_IDENTITIES = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
_POOLS = (nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_ACTIVATIONS: dict[Any, ActivationName] = {
    nn.ReLU: "relu",
    nn.SiLU: "silu",
    F.relu: "relu",
    torch.relu: "relu",
    F.silu: "silu",
    "relu": "relu",
}
# Functions that average or rearrange: each is its own magnitude.
_MEANS = {torch.mean, torch.flatten, F.avg_pool2d, F.adaptive_avg_pool2d, "mean", "flatten"}


class _Builder:
    """Turns traced nodes into steps, one after the other."""

    def __init__(self, network: nn.Module, image: Tensor) -> None:
        self._network, self._image = network, image
        self._known: dict[fx.Node, _Known] = {}
        self._nodes: list[Node] = []
        self._output: int | None = None

    def take(self, node: fx.Node) -> None:
        """Add what a traced node does."""
        match node.op:
            case "placeholder":
                self._known[node] = _Known(-1, self._image)
            case "get_attr":
                self._known[node] = _Known(
                    None, operator.attrgetter(str(node.target))(self._network)
                )
            case "output":
                found = self._of(node.args[0])
                if found.place is None or found.value.ndim != 2:
                    raise UserError("the network does not return logits of shape (N, K)")
                self._output = found.place
            case "call_module":
                self._known[node] = self._module(node)
            case _:
                self._known[node] = self._function(node)

    def graph(self) -> Graph:
        """Return the graph up to the logits."""
        if self._output != len(self._nodes) - 1:
            raise UserError("the network computes something after its logits")
        _, channels, height, width = self._image.shape
        return Graph(tuple(self._nodes), (channels, height, width))

    def _of(self, argument: Any) -> _Known:
        return self._known[argument] if isinstance(argument, fx.Node) else _Known(None, argument)

    def _add(self, step: Affine | Activation | Sum, *inputs: _Known) -> _Known:
        if isinstance(step, Sum):
            value = inputs[0].value + inputs[1].value
        else:
            value = step(inputs[0].value)
        places = tuple(found.place for found in inputs if found.place is not None)
        self._nodes.append(Node(step, places, tuple(value.shape[1:])))
        return _Known(len(self._nodes) - 1, value)

    def _module(self, node: fx.Node) -> _Known:
        module, found = self._network.get_submodule(str(node.target)), self._of(node.args[0])
        if isinstance(module, _IDENTITIES):
            return found
        if type(module) in _ACTIVATIONS:
            return self._add(Activation(_ACTIVATIONS[type(module)]), found)
        if isinstance(module, _NORMS):
            return self._add(_batch_norm(module, found.value.ndim), found)
        if isinstance(module, nn.Conv2d | nn.Linear):
            return self._add(_weighted(module), found)
        if isinstance(module, _POOLS):
            return self._add(_average(module, found.value), found)
        raise UserError(
            f"layer {node.target} is a {type(module).__name__}, for which no bounds are known; "
            "use --method smoothing"
        )

    def _function(self, node: fx.Node) -> _Known:
        target: Any = node.target
        given = [self._of(argument) for argument in node.args]
        if target in _ACTIVATIONS:
            return self._add(Activation(_ACTIVATIONS[target]), given[0])
        if target in _MEANS:
            return self._add(self._mean(target, node, given[0].value), given[0])
        arithmetic = {
            operator.add: operator.add, operator.iadd: operator.add, torch.add: operator.add,
            operator.sub: operator.sub, torch.sub: operator.sub,
            operator.mul: operator.mul, torch.mul: operator.mul,
            operator.truediv: operator.truediv, torch.div: operator.truediv,
        }  # fmt: skip
        if target in arithmetic and len(given) == 2 and not node.kwargs:
            return self._arithmetic(arithmetic[target], *given)
        raise UserError(
            f"step {node.name} ({getattr(target, '__name__', target)}) is one for which no bounds "
            "are known; use --method smoothing"
        )

    def _mean(self, target: Any, node: fx.Node, value: Tensor) -> Affine:
        # A mean in another type (float32 beside bfloat16) is one in the graph's own.
        options = {key: option for key, option in node.kwargs.items() if key != "dtype"}
        rest = node.args[1:]

        def apply(x: Tensor) -> Tensor:
            function = getattr(x, target) if isinstance(target, str) else None
            y = function(*rest, **options) if function else target(x, *rest, **options)
            return y  # type: ignore[no-any-return]

        return _average(apply, value)

    def _arithmetic(self, operation: Any, first: _Known, second: _Known) -> _Known:
        if first.place is not None and second.place is not None:
            if operation is not operator.add or first.value.shape != second.value.shape:
                raise UserError(
                    f"two branches of shapes {tuple(first.value.shape[1:])} and "
                    f"{tuple(second.value.shape[1:])} meet in another way than by a sum"
                )
            return self._add(Sum(), first, second)
        if first.place is None and second.place is None:
            return _Known(None, operation(first.value, second.value))
        if first.place is None and operation in (operator.sub, operator.truediv):
            raise UserError("a constant minus or divided by a value is not supported")
        varying, constant = (first, second) if first.place is not None else (second, first)
        like = varying.value
        number = torch.as_tensor(constant.value, dtype=like.dtype, device=like.device)
        if operation in (operator.add, operator.sub):
            shift = number if operation is operator.add else -number
            return self._add(Affine(_same, _same, shift, 1), varying)
        factor = number if operation is operator.mul else 1 / number
        size = factor.abs()
        scale = Affine(lambda x: x * factor, lambda x: x * size, None, 3)
        return self._add(scale, varying)


def _same(x: Tensor) -> Tensor:
    return x


def _weighted(module: nn.Conv2d | nn.Linear) -> Affine:
    """Return a convolution or a linear layer, whose own code pads."""
    bias = module.bias
    if bias is not None and isinstance(module, nn.Conv2d):
        bias = bias.view(-1, 1, 1)
    if isinstance(module, nn.Conv2d) and module.padding_mode != "zeros":
        raise UserError(f"padding_mode is '{module.padding_mode}', but bounds need 'zeros'")

    def applied(weight: Callable[[], Tensor]) -> Map:
        def run(x: Tensor) -> Tensor:
            parameters = {"weight": weight()}
            if module.bias is not None:
                parameters["bias"] = torch.zeros_like(module.bias)
            return torch.func.functional_call(module, parameters, (x,))  # type: ignore[no-any-return]

        return run

    terms = module.weight[0].numel()
    return Affine(applied(lambda: module.weight), applied(lambda: module.weight.abs()), bias, terms)


def _batch_norm(module: nn.BatchNorm1d | nn.BatchNorm2d, ndim: int) -> Affine:
    if module.training or module.running_mean is None or module.running_var is None:
        raise UserError(
            "batch norm computes statistics of its batch, so the logits of an image depend on "
            "others; bounds need a network without it, or in evaluation mode"
        )
    shape = (-1, *(1,) * (ndim - 2))
    scale = torch.rsqrt(module.running_var + module.eps)
    if module.affine:
        scale = scale * module.weight
    shift = -module.running_mean * scale
    if module.affine:
        shift = shift + module.bias
    factor = scale.view(shape)
    size = factor.abs()
    return Affine(lambda x: x * factor, lambda x: x * size, shift.view(shape), 8)


def _average(apply: Map, value: Tensor) -> Affine:
    """Return a map whose weights are 0 or more: a mean, a pooling, or a rearrangement."""
    ratio = value[0].numel() / max(apply(value)[0].numel(), 1)
    return Affine(apply, apply, None, math.ceil(ratio) + 2)

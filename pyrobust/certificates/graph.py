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
from torch._ops import OpOverload

from pyrobust.errors import UserError
from pyrobust.models.batch_norm import BatchNorm
from pyrobust.models.hooks import REMOVAL, layer_with_hooks
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
        terms: products that are added up, at most: for one output, or backwards for one input.
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
        """Relative error of a sum of products along any path, forwards or backwards, in float64.

        It is gamma_n = n u / (1 - n u) (Higham 2002, Lemma 3.1) for all roundings along a path
        through all nodes. A path ends in a sum over one node or over the pixels; a minimum over a
        region takes up to three of these.
        """
        steps = sum(n.step.terms + 4 if isinstance(n.step, Affine) else 8 for n in self.nodes)
        shapes = [self.image_shape, *(node.shape for node in self.nodes)]
        return gamma(steps + 3 * max(map(math.prod, shapes)))

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
        UserError: the network contains something else than what is listed above, hooks, or was
            loaded from a file of torch.export or TorchScript.
    """
    if any(_keeps_no_layers(module) for module in network.modules()):
        raise UserError(
            "a file of torch.export or TorchScript contains operations instead of layers, so no "
            "bounds are known; certify the network itself (--model MODULE:NAME --weights FILE), or "
            "use --method smoothing"
        )
    if hooked := layer_with_hooks(network):
        raise UserError(
            f"layer {hooked} has hooks, which may change what it computes, so no bounds are known; "
            f"use --method smoothing, or remove them first ({REMOVAL})"
        )
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
    # Two images show whether a step keeps them apart.
    builder = _Builder(network, image.new_zeros((2, *image.shape[1:]), dtype=dtype or image.dtype))
    for node in traced.nodes:
        builder.take(node)
    return builder.graph()


def _keeps_no_layers(module: nn.Module) -> bool:
    """Return whether a module comes from torch.export or TorchScript."""
    if not isinstance(module, fx.GraphModule):
        return isinstance(module, torch.jit.ScriptModule)
    return any(isinstance(node.target, OpOverload) for node in module.graph.nodes)


class _Tracer(fx.Tracer):
    """Takes this project's layers as one step, since their code looks at shapes."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Conv3x3 | BatchNorm) or super().is_leaf_module(
            m, module_qualified_name
        )


@dataclass(frozen=True)
class _Known:
    """The value of a traced node: place and value for two images; or a constant."""

    place: int | None
    value: Any


_IDENTITIES = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
_POOLS = (nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten)
_WEIGHTED = (nn.Conv2d.forward, nn.Linear.forward, Conv3x3.forward)
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
        computes = getattr(module.forward, "__func__", None)  # a subclass may compute otherwise
        if isinstance(module, nn.Conv2d | nn.Linear) and computes in _WEIGHTED:
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
        if number.ndim > like.ndim or (number.ndim == like.ndim and len(number) != 1):
            raise UserError(
                f"a constant of shape {tuple(number.shape)} meets values of shape "
                f"(N, {', '.join(map(str, like.shape[1:]))}), but bounds need one for all images"
            )
        shape = (like + number).shape
        if shape != like.shape:

            def expand(x: Tensor) -> Tensor:
                return x.expand(len(x), *shape[1:])

            copies = math.prod(shape) // like.numel()
            varying = self._add(Affine(expand, expand, None, copies), varying)
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
    """Return a convolution or a linear layer."""
    bias = module.bias
    if bias is not None and isinstance(module, nn.Conv2d):
        bias = bias.view(-1, 1, 1)
    if isinstance(module, nn.Conv2d) and module.padding_mode != "zeros":
        raise UserError(f"padding_mode is '{module.padding_mode}', but bounds need 'zeros'")
    # Read once: parametrized weights are computed at each access.
    weight = module.weight
    size = weight.abs()

    def apply(x: Tensor, weight: Tensor) -> Tensor:
        if isinstance(module, Conv3x3):
            return module.convolve(x, weight)
        if isinstance(module, nn.Linear):
            return F.linear(x, weight)
        return F.conv2d(
            x, weight, None, module.stride, module.padding, module.dilation, module.groups
        )

    terms = max(weight[0].numel(), weight[:, 0].numel())
    return Affine(lambda x: apply(x, weight), lambda x: apply(x, size), bias, terms)


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
    """Return a map whose weights are 0 or more: a mean, a pooling, or a rearrangement.

    Raises:
        UserError: its weights are negative, or its value for an image depends on others.
    """
    probe = torch.linspace(0, 1, value.numel(), dtype=value.dtype, device=value.device)
    probe = probe.view(value.shape)
    both, alone = apply(probe), apply(probe[:1])
    per_image = both.ndim > 0 and len(both) == 2 and both[:1].shape == alone.shape
    if not per_image or not torch.allclose(both[:1], alone):
        raise UserError(
            "a mean or a rearrangement is over the images of a batch, so the logits of an image "
            "depend on others; keep dimension 0 out of it"
        )
    if (both < 0).any():
        raise UserError("an average has negative weights; give it a positive divisor_override")
    return Affine(apply, apply, None, _largest_window(apply, value) + 2)


def _largest_window(apply: Map, value: Tensor) -> int:
    """Return how many values are averaged, and how many averages one value is in, at most."""
    if isinstance(apply, nn.Flatten):
        return 1
    if isinstance(apply, nn.AvgPool2d):
        size = apply.kernel_size
        return math.prod(size) if isinstance(size, tuple) else size**2
    return value[0].numel()

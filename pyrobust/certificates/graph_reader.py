"""Read the graph of a network from its code.

torch.fx traces the code; nothing else of it is run. Supported are convolutions, linear layers,
batch norm in evaluation mode, average pooling, means, flattening and other changes of shape, shifts
and scalings by constants, ReLU, SiLU, and sums of two branches: the networks of this project and
plain `nn.Sequential`s.
"""

import copy
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch._ops import OpOverload

from pyrobust.certificates.affine_layers import average, batch_norm, largest_window, weighted
from pyrobust.certificates.graph import Activation, ActivationName, Affine, Graph, Node, Sum
from pyrobust.errors import UserError, reason_of
from pyrobust.models.batch_norm import BatchNorm
from pyrobust.models.hooks import REMOVAL, layer_with_hooks
from pyrobust.models.layers import Conv3x3

# Batch norm → mean and variance of its input.
Statistics = Mapping[nn.Module, tuple[Tensor, Tensor]]


def graph_of(
    network: nn.Module,
    image: Tensor,
    dtype: torch.dtype | None = torch.float64,
    statistics: Statistics = MappingProxyType({}),
) -> Graph:
    """Return the graph of a network, in evaluation mode.

    Args:
        network: maps images to logits (N, K). It is copied unless dtype is None.
        image: (1, C, H, W), on the device of the network; only its shape is read.
        dtype: of the graph; None keeps the network's own parameters, for training.
        statistics: by which batch norm normalises in training; else by its running ones.

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
        reason = reason_of(error)
        raise UserError(
            f"the code of {type(network[0]).__name__} cannot be read as a graph ({reason}); "
            "certificates need a network of convolutions, linear layers, ReLU and SiLU, or use "
            "--method smoothing"
        ) from error
    # Two images show whether a step keeps them apart.
    two = image.new_zeros((2, *image.shape[1:]), dtype=dtype or image.dtype)
    builder = _Builder(network, two, statistics)
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

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)


def _in_place(operation: Callable[..., Any]) -> Callable[[fx.Proxy, Any], fx.Proxy]:
    def method(value: fx.Proxy, other: Any) -> fx.Proxy:
        made: fx.Proxy = value.tracer.create_proxy("call_function", operation, (value, other), {})
        return made

    return method


class _Proxy(fx.Proxy):
    """Keeps `x += y` apart from `x = x + y`, which leaves other names of x as they are."""

    __iadd__ = _in_place(operator.iadd)
    __isub__ = _in_place(operator.isub)
    __imul__ = _in_place(operator.imul)
    __itruediv__ = _in_place(operator.itruediv)


@dataclass(frozen=True)
class _Known:
    """The value of a traced node: place and value for two images; or a constant."""

    place: int | None
    value: Any
    overwritten: bool = False


_IDENTITIES = {nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d}
_POOLS = {nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten}
_FORWARDS = {nn.Conv2d.forward, nn.Linear.forward, Conv3x3.forward}
_NORMS = {nn.BatchNorm1d, nn.BatchNorm2d, BatchNorm}
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
_MEANS |= {torch.permute, torch.transpose, "permute", "transpose", "contiguous"}
_RESHAPES = {torch.reshape, "reshape", "view"}
_ARITHMETIC = {
    operator.add: operator.add, operator.iadd: operator.add, torch.add: operator.add,
    operator.sub: operator.sub, operator.isub: operator.sub, torch.sub: operator.sub,
    operator.mul: operator.mul, operator.imul: operator.mul, torch.mul: operator.mul,
    operator.truediv: operator.truediv, operator.itruediv: operator.truediv,
    torch.div: operator.truediv,
    # Methods, and what a buffer computes with a value to its right.
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv,
}  # fmt: skip
_IN_PLACE = {operator.iadd, operator.isub, operator.imul, operator.itruediv}


class _NumImages:
    """The size of dimension 0 of a value, which only a change of shape may use."""


_NUM_IMAGES = _NumImages()


class _Builder:
    """Turns traced nodes into steps, one after the other."""

    def __init__(self, network: nn.Module, image: Tensor, statistics: Statistics) -> None:
        self._network, self._image, self._statistics = network, image, statistics
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
            case _:
                if not node.args:
                    raise UserError(f"step {node.name} takes its input by name; pass it first")
                result = (self._module if node.op == "call_module" else self._function)(node)
                if self._is_in_place(node) and result.place != self._of(node.args[0]).place:
                    self._overwrite(self._of(node.args[0]), result)
                self._known[node] = result

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

    def _is_in_place(self, node: fx.Node) -> bool:
        """Return whether a step writes its result over its first input."""
        if node.op == "call_module":
            return bool(getattr(self._network.get_submodule(str(node.target)), "inplace", False))
        if node.target in _ACTIVATIONS:
            return any([*node.args[1:], *node.kwargs.values()])
        return node.target in _IN_PLACE

    def _overwrite(self, found: _Known, result: _Known) -> None:
        """Let whatever shares the memory of a value refer to what was written over it."""
        if found.place is None:
            raise UserError("the network writes into a constant; its next image sees another one")
        memory = found.value.untyped_storage().data_ptr()
        for node, known in self._known.items():
            if known.place == found.place:
                self._known[node] = result
            elif known.place is not None and known.value.untyped_storage().data_ptr() == memory:
                self._known[node] = replace(known, overwritten=True)

    def _module(self, node: fx.Node) -> _Known:
        module, found = self._network.get_submodule(str(node.target)), self._varying(node)
        kind = type(module)
        if "forward" in vars(module):
            raise UserError(
                f"layer {node.target} ({kind.__name__}) has a forward method of its own, for which "
                "no bounds are known; use --method smoothing"
            )
        if kind in _IDENTITIES:
            return found
        if kind in _ACTIVATIONS:
            return self._add(Activation(_ACTIVATIONS[kind]), found)
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and kind in _NORMS:
            norm = batch_norm(module, found.value.ndim, self._statistics.get(module))
            return self._add(norm, found)
        # A parametrized layer is of a subclass that torch makes.
        if isinstance(module, nn.Conv2d | nn.Linear) and kind.forward in _FORWARDS:
            return self._add(weighted(module), found)
        if kind in _POOLS:
            return self._add(
                average(module, found.value, largest_window(module, found.value)), found
            )
        raise UserError(
            f"layer {node.target} is a {kind.__name__}, for which no bounds are known; "
            "use --method smoothing"
        )

    def _input(self, node: fx.Node) -> _Known:
        """Return the first input of a step."""
        found = self._of(node.args[0])
        if found.overwritten:
            raise UserError(
                f"step {node.name} takes a view of values that another step writes over; set "
                "inplace=False, or write x = x + y instead of x += y"
            )
        return found

    def _varying(self, node: fx.Node) -> _Known:
        """Return the first input of a step, which must depend on the image."""
        found = self._input(node)
        if found.place is None:
            raise UserError(
                f"step {node.name} computes with constants alone, which cannot be read; keep its "
                "result as a buffer"
            )
        return found

    def _function(self, node: fx.Node) -> _Known:
        target: Any = node.target
        found, rest = self._input(node), list[Any](node.args[1:])
        if target is operator.getitem and isinstance(found.value, tuple):
            return _Known(None, found.value[rest[0]])
        if target in _ARITHMETIC and len(rest) == 1 and not node.kwargs:
            return self._arithmetic(_ARITHMETIC[target], found, self._of(rest[0]))
        found = self._varying(node)
        if target in _ACTIVATIONS:
            return self._add(Activation(_ACTIVATIONS[target]), found)
        if target in _MEANS:
            return self._add(self._mean(target, node, found.value), found)
        if target in _RESHAPES:
            return self._add(self._reshaped(node, found.value), found)
        if target == "size" or (target is getattr and rest == ["shape"]):
            sizes = (_NUM_IMAGES, *found.value.shape[1:])
            return _Known(None, sizes[rest[0]] if target == "size" and rest else sizes)
        raise UserError(
            f"step {node.name} ({getattr(target, '__name__', target)}) is one for which no bounds "
            "are known; use --method smoothing"
        )

    def _constants(self, values: Any) -> Any:
        """Return arguments with traced constants replaced by their values."""

        def constant(node: fx.Node) -> Any:
            if self._of(node).place is not None:
                raise UserError(f"step {node.name} is an argument that depends on the image")
            return self._of(node).value

        return fx.map_arg(values, constant)

    def _mean(self, target: Any, node: fx.Node, value: Tensor) -> Affine:
        # A mean in another type (float32 beside bfloat16) is one in the graph's own.
        options = {key: option for key, option in node.kwargs.items() if key != "dtype"}
        rest, options = self._constants((node.args[1:], options))
        if _has_num_images(rest):
            raise UserError(f"step {node.name} depends on the number of images")

        def apply(x: Tensor) -> Tensor:
            function = getattr(x, target) if isinstance(target, str) else None
            y = function(*rest, **options) if function else target(x, *rest, **options)
            return y  # type: ignore[no-any-return]

        return average(apply, value, value[0].numel())

    def _reshaped(self, node: fx.Node, value: Tensor) -> Affine:
        """Return a change of shape that keeps dimension 0."""
        rest = self._constants(node.args[1:])
        sizes = rest[0] if len(rest) == 1 and isinstance(rest[0], tuple | list) else rest
        if node.kwargs or not sizes or _has_num_images(sizes[1:]):
            raise UserError(f"step {node.name} changes the shape in a way that cannot be read")
        first = len(value) if sizes[0] is _NUM_IMAGES else sizes[0]
        shape = value.reshape(first, *sizes[1:]).shape

        def apply(x: Tensor) -> Tensor:
            return x.reshape(len(x) * shape[0] // len(value), *shape[1:])

        return average(apply, value, 1)

    def _arithmetic(self, operation: Any, first: _Known, second: _Known) -> _Known:
        if second.overwritten:
            raise UserError("a sum takes a view of values that another step writes over")
        if _has_num_images((first.value, second.value)):
            raise UserError("the network computes with the number of images")
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


def _has_num_images(values: Any) -> bool:
    if isinstance(values, tuple | list):
        return any(map(_has_num_images, values))
    return isinstance(values, _NumImages)

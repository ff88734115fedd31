"""A network as a list of affine maps, activations and sums, whose bounds can be computed."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

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

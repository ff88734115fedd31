"""How the steps of the inner attack are run: as they are, compiled, or as one CUDA graph."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

from pyrobust.attacks.passes import LogitsFn
from pyrobust.attacks.trades import TradesAttackSettings, trades_ascent

# Runs before a capture, in which cuDNN chooses its kernels and memory pools fill.
_WARM_UP_RUNS = 3


class Ascent(Protocol):
    """`trades_ascent` of one network and one attack."""

    def __call__(self, x_adv: Tensor, x: Tensor, clean_probs: Tensor) -> Tensor:
        """Return where the attack ends that starts at `x_adv`, which may be overwritten."""


def make_ascent(
    model: nn.Module,
    logits_fn: LogitsFn,
    settings: TradesAttackSettings,
    *,
    compiled: bool,
    cuda_graph: bool,
) -> Ascent:
    """Return the ascent on `logits_fn`, the passes of `model`.

    Args:
        compiled: let torch.compile fuse each pass; sums are then rounded otherwise.
        cuda_graph: launch all steps at once, with the same bits (a GPU only).
    """
    if compiled:
        # Settled shapes: every batch of a run has the same.
        logits_fn = torch.compile(logits_fn, fullgraph=True, dynamic=False)

    def ascend(x_adv: Tensor, x: Tensor, clean_probs: Tensor) -> Tensor:
        # A compiled pass goes back to all that wants a gradient, also to weights nobody asks for.
        with _frozen(model):
            return trades_ascent(logits_fn, x_adv, x, clean_probs, settings)

    return _CapturedAscent(ascend) if cuda_graph else ascend


class _CapturedAscent:
    """Records an ascent at its first call and replays it.

    Weights are read where they lie, so updates in place are seen by the next replay.
    """

    def __init__(self, ascend: Ascent) -> None:
        self._ascend = ascend
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._output = torch.empty(0)

    def __call__(self, x_adv: Tensor, x: Tensor, clean_probs: Tensor) -> Tensor:
        given = (x_adv, x, clean_probs)
        if self._graph is None or [t.shape for t in given] != [t.shape for t in self._inputs]:
            self._graph = self._captured(given)
        for recorded, value in zip(self._inputs, given, strict=True):
            recorded.copy_(value)
        self._graph.replay()
        return self._output.clone()  # the next replay writes over it

    def _captured(self, given: tuple[Tensor, Tensor, Tensor]) -> torch.cuda.CUDAGraph:
        self._inputs = tuple(tensor.clone() for tensor in given)
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP_RUNS):
                self._ascend(*(tensor.clone() for tensor in given))
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # Other threads go on meanwhile: one reads the next batch, one watches over NCCL.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._output = self._ascend(*self._inputs)
        return graph


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Let no parameter of `model` ask for a gradient inside the block."""
    asking = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in asking:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in asking:
            parameter.requires_grad_(True)

"""The inner attack of adversarial training, and how its steps run."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from pyrobust import ops
from pyrobust.attacks.network_passes import LogitsFn
from pyrobust.attacks.pgd import OptimizerName, make_optimizer
from pyrobust.attacks.threat_model import ThreatModel

# The second half of the steps uses a tenth of the rate, as in the authors' code.
_LATE_FACTOR = 0.1


@dataclass(frozen=True)
class TradesAttackSettings:
    """How far and how the attack goes.

    Args:
        optimizer: see `make_optimizer`; the rate of adam is step_size, then a tenth of it.
        step_size: in the [0, 1] pixel range.
    """

    threat: ThreatModel
    num_steps: int
    optimizer: OptimizerName
    step_size: float

    def rate(self, step: int) -> float:
        """Return the rate of inner step `step`, from 0."""
        late = self.optimizer == "adam" and step >= (self.num_steps + 1) // 2
        return self.step_size * (_LATE_FACTOR if late else 1.0)


def trades_start(
    x: Tensor, sample_ids: Tensor, threat: ThreatModel, seed: int, step: int
) -> Tensor:
    """Return where the attack starts: uniform in the perturbation set, and in [0, 1].

    Args:
        x: (N, C, H, W) in [0, 1], float32.
        sample_ids: (N,) int64; with (seed, step) they name the start.
    """
    return ops.random_start(x, sample_ids, threat.epsilon, threat.norm, seed, step)


def trades_ascent(
    logits_fn: LogitsFn,
    x_adv: Tensor,
    x: Tensor,
    clean_probs: Tensor,
    settings: TradesAttackSettings,
) -> Tensor:
    """Maximise the cross-entropy of the logits to `clean_probs`, which is KL up to a constant.

    Only the gradient of the input is computed.

    Args:
        x_adv: the start, which may be overwritten.
        x: (N, C, H, W) in [0, 1], float32; so is all state of the attack.
        clean_probs: (N, K), predictions on x.

    Returns:
        x_adv of the shape of x, in the perturbation set and in [0, 1].
    """
    optimizer = make_optimizer(settings.optimizer, x)
    for step in range(settings.num_steps):
        point = x_adv.detach().requires_grad_()
        logits = logits_fn(point)
        _, grad_logits = ops.cross_entropy(logits.detach(), clean_probs)
        (grad,) = torch.autograd.grad(logits, point, grad_logits)
        x_adv = optimizer.step(point.detach(), x, grad, settings.rate(step), settings.threat)
    return x_adv


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

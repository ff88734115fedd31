"""The inner attack of adversarial training, and how its steps run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pyrobust import ops
from pyrobust.attacks.network_passes import LogitsFn
from pyrobust.attacks.pgd import make_optimizer
from pyrobust.attacks.threat_model import ThreatModel
from pyrobust.config.radius import parse_epsilon
from pyrobust.config.training import TrainSettings

# Adam uses a tenth of its rate in the second half of the steps, as in the authors' code.
_LATE_FACTOR = 0.1

# Runs before a capture, in which cuDNN chooses its kernels and memory pools fill.
_WARM_UP_RUNS = 3


class InnerAttack:
    """Perturbs batches so that a network in training departs from target probabilities.

    The start is uniform in the perturbation set; from there the attack maximises the cross-entropy
    of the logits to the targets: the clean prediction for TRADES (which is its KL divergence up to
    a constant), the label for adversarial training. Only gradients of the images are computed.

    Args:
        logits_fn: the passes of `model`, x (N, C, H, W) to logits (N, K).
        settings: `norm`, `epsilon`, `seed` and the fields that begin with `attack_` are read;
            `compiled_attack` lets torch.compile fuse each pass, which changes the rounding.
        cuda_graph: launch all steps as one CUDA graph, with the same bits (needs a GPU). Its
            memory stays reserved in addition to that of the other passes.
    """

    def __init__(
        self, model: nn.Module, logits_fn: LogitsFn, settings: TrainSettings, cuda_graph: bool
    ) -> None:
        self.threat = ThreatModel(settings.norm, parse_epsilon(settings.epsilon))
        self._model, self._settings = model, settings
        self._step_size = parse_epsilon(settings.attack_step_size)
        # Fixed shapes: all batches of a run have the same.
        self._logits_fn: LogitsFn = (
            torch.compile(logits_fn, fullgraph=True, dynamic=False)
            if settings.compiled_attack
            else logits_fn
        )
        self._ascend = _CapturedAscent(self.ascend) if cuda_graph else self.ascend

    def __call__(self, x: Tensor, sample_ids: Tensor, target_probs: Tensor, step: int) -> Tensor:
        """Return x_adv of the shape of x, in the perturbation set and in [0, 1].

        Args:
            x: (N, C, H, W) in [0, 1], float32; so is all state of the attack.
            sample_ids: (N,) int64; with the seed and `step` they determine the start.
            target_probs: (N, K) float32.
        """
        norm, epsilon = self.threat.norm, self.threat.epsilon
        start = ops.random_start(x, sample_ids, epsilon, norm, self._settings.seed, step)
        return self._ascend(start, x, target_probs)

    def ascend(self, x_adv: Tensor, x: Tensor, target_probs: Tensor) -> Tensor:
        """Return where the attack ends that starts at `x_adv`, which may be overwritten."""
        settings = self._settings
        optimizer = make_optimizer(settings.attack_optimizer, x)
        # A compiled pass computes gradients of all weights that require one.
        with _frozen(self._model):
            for step in range(settings.attack_steps):
                point = x_adv.detach().requires_grad_()
                logits = self._logits_fn(point)
                _, grad_logits = ops.cross_entropy(logits.detach(), target_probs)
                (grad,) = torch.autograd.grad(logits, point, grad_logits)
                x_adv = optimizer.step(point.detach(), x, grad, self.rate(step), self.threat)
        return x_adv

    def rate(self, step: int) -> float:
        """Return the step size of inner step `step`, from 0."""
        settings = self._settings
        late = settings.attack_optimizer == "adam" and step >= (settings.attack_steps + 1) // 2
        return self._step_size * (_LATE_FACTOR if late else 1.0)


class _CapturedAscent:
    """Records an ascent in its first call and replays it from then on.

    Weights are read where they lie, so a replay uses what was updated in place.
    """

    def __init__(self, ascend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        self._ascend = ascend
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._output = torch.empty(0)

    def __call__(self, x_adv: Tensor, x: Tensor, target_probs: Tensor) -> Tensor:
        given = (x_adv, x, target_probs)
        if self._graph is None or [t.shape for t in given] != [t.shape for t in self._inputs]:
            self._graph = self._captured(given)
        for recorded, value in zip(self._inputs, given, strict=True):
            recorded.copy_(value)
        self._graph.replay()
        return self._output.clone()  # the next replay overwrites it

    def _captured(self, given: tuple[Tensor, Tensor, Tensor]) -> torch.cuda.CUDAGraph:
        self._inputs = tuple(tensor.clone() for tensor in given)
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP_RUNS):
                self._ascend(*(tensor.clone() for tensor in given))
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # Other threads keep working meanwhile: one reads the next batch, one watches NCCL.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._output = self._ascend(*self._inputs)
        return graph


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Let no parameter of `model` require a gradient inside the block."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)

"""Network passes of one shape, and the gradients that attacks take through them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pyrobust import ops
from pyrobust.errors import UserError

# Rows that matrix kernels take at once, on all processors that we know, and half as many, which
# CPUs mostly compute alike.
_GRANULE, _FINE_GRANULE = 16, 8

# Share of a GPU's free memory that one pass may take.
_SHARE_OF_MEMORY = 0.25

# x (N, C, H, W) in [0, 1] -> logits (N, K)
LogitsFn = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class FixedPasses:
    """A logits function that is computed in passes of exactly `pass_size` images.

    Libraries choose their kernels by the shape of a batch, and another kernel adds up in another
    order: on the CPU the logits and gradients of an image differ in their last bits between
    batches of 3, 5 or 64 images, and over a hundred steps of an attack such bits grow. In passes
    of one shape they depend neither on the other images nor on the place in the batch.

    Args:
        granule: the last pass is filled up to a multiple of it only; 0 fills it up wholly. Other
            values are for a network whose passes of all these sizes give the same bits
            (`packed_passes`).
    """

    logits_fn: LogitsFn
    pass_size: int
    granule: int = 0

    def __call__(self, x: Tensor) -> Tensor:
        """Return the logits (N, K) of x (N, C, H, W)."""
        return torch.cat([self.logits_fn(images) for images in self.split_images(x)])[: len(x)]

    def split_images(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return x (N, C, H, W) by passes, (pass_size, C, H, W) each but perhaps the last.

        Strides choose kernels too, and those of images with one channel are ambiguous: here they
        are always channels-last, a third faster on the CPU.
        """
        shape = torch.Size((self._filled_up(len(x)), *x.shape[1:]))
        images = torch.empty(
            shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last
        )
        return torch.split(_filled(images, x), self.pass_size)

    def split(self, values: Tensor) -> tuple[Tensor, ...]:
        """Return values (N,) by the same passes."""
        filled = _filled(values.new_empty(self._filled_up(len(values))), values)
        return torch.split(filled, self.pass_size)

    def _filled_up(self, count: int) -> int:
        """Return the images of all passes."""
        return count + -count % (self.granule or self.pass_size)


def _filled(rows: Tensor, values: Tensor) -> Tensor:
    """Return `rows` with `values` at the front and the first of them in all that are left."""
    rows[: len(values)] = values
    rows[len(values) :] = values[:1]
    return rows


def packed_passes(
    logits_fn: LogitsFn, pass_size: int, x: Tensor, most: int | None = None
) -> FixedPasses:
    """Return passes whose last one is filled up as little as the network's bits allow.

    Where passes of 16, 32, ... images (on a CPU, if possible, 8, 16, 24, ...) give `x` the same
    logits and the same gradients, to the bit, as passes of `pass_size`, the kernels sum in the same
    order, and an image's result does not depend on the size. Otherwise every pass is padded.

    A small network leaves most of a GPU idle. There, `pass_size` is doubled as long as bits stay
    the same and a pass takes a quarter of the free memory at most.

    Args:
        x: (N, C, H, W) in [0, 1]; its first `pass_size` images are tried, repeated if fewer.
        most: images of the largest pass to try; `pass_size` if not given.
    """

    def bits(count: int) -> tuple[Tensor, Tensor]:
        (images,) = FixedPasses(logits_fn, max(count, pass_size)).split_images(x[:pass_size])
        points = images[:count].detach().requires_grad_()
        with torch.enable_grad():
            logits = logits_fn(points)
        if not logits.requires_grad:
            return logits, torch.zeros_like(points)
        return logits.detach(), _backward(logits, points, logits.detach())

    reference, taken, free = _with_memory(lambda: bits(pass_size), x.device)

    def same(count: int) -> bool:
        common = min(count, pass_size)
        return all(
            torch.equal(a[:common], b[:common]) for a, b in zip(bits(count), reference, strict=True)
        )

    if not all(map(same, range(_GRANULE, pass_size, _GRANULE))):
        return FixedPasses(logits_fn, pass_size)
    if not free and all(map(same, range(_FINE_GRANULE, pass_size, _GRANULE))):
        return FixedPasses(logits_fn, pass_size, min(_FINE_GRANULE, pass_size))
    size, of_memory = pass_size, pass_size * free * _SHARE_OF_MEMORY / taken
    while 2 * size <= min(most or pass_size, of_memory):
        if not all(map(same, range(size + _GRANULE, 2 * size + 1, _GRANULE))):
            break
        size *= 2
    return FixedPasses(logits_fn, size, min(_GRANULE, size))


def _with_memory(
    call: Callable[[], tuple[Tensor, Tensor]], device: torch.device
) -> tuple[tuple[Tensor, Tensor], float, float]:
    """Return what `call` returns, the bytes that it takes of a GPU, and those that are free.

    On a CPU, larger passes gain nothing, and no memory counts as free.
    """
    if device.type != "cuda":
        return call(), 1, 0
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    result = call()
    taken = torch.cuda.max_memory_allocated(device) - before
    return result, max(1, taken), torch.cuda.mem_get_info(device)[0]


# (logits, labels[, targets]) -> (loss (N,), gradient (N, K)); an attack maximises it.
LossFn = Callable[..., tuple[Tensor, Tensor]]

Loss = Literal["cross_entropy", "margin", "dlr"]
TargetedLoss = Literal["targeted_margin", "targeted_dlr"]


@dataclass(frozen=True)
class Gradient:
    """Results of one forward and backward pass over a batch of points."""

    logits: Tensor  # (N, K)
    loss: Tensor  # (N,)
    grad: Tensor  # of the shape of the points


def loss_fn(name: Loss | TargetedLoss) -> LossFn:
    """Return the loss of that name."""
    losses: dict[str, LossFn] = {
        "cross_entropy": ops.cross_entropy,
        "margin": ops.margin,
        "dlr": ops.dlr,
        "targeted_margin": ops.targeted_margin,
        "targeted_dlr": ops.targeted_dlr,
    }
    return losses[name]


def gradient(logits_fn: LogitsFn, x: Tensor, loss: LossFn, *goals: Tensor) -> Gradient:
    """Return logits, loss and the loss's gradient at x (N, C, H, W).

    Only the gradient of x is computed. A network that x does not reach, or only through steps
    without derivative, gives zeros: the attack then does not move, and the checks report it.

    Args:
        goals: labels (N,), and targets (N,) for a targeted loss.
    """
    if not isinstance(logits_fn, FixedPasses):
        return _gradient(logits_fn, x, loss, *goals)
    # In the order of x again: sums over an image must not depend on where it was computed.
    grad, parts, first = torch.empty_like(x), [], 0
    passes = zip(logits_fn.split_images(x), *map(logits_fn.split, goals), strict=True)
    # Each pass goes back before the next one begins: only one is held in memory.
    for images, *theirs in passes:
        part = _gradient(logits_fn.logits_fn, images, loss, *theirs)
        rows = grad[first : first + len(images)]
        rows.copy_(part.grad[: len(rows)])
        parts.append(part)
        first += len(rows)
    logits, value = (
        torch.cat([getattr(part, name) for part in parts])[: len(x)] for name in ("logits", "loss")
    )
    return Gradient(logits, value, grad)


def _gradient(logits_fn: LogitsFn, x: Tensor, loss: LossFn, *goals: Tensor) -> Gradient:
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        logits = logits_fn(x)
    value, grad_logits = loss(logits.detach(), *goals)
    grad = _backward(logits, x, grad_logits) if logits.requires_grad else torch.zeros_like(x)
    return Gradient(logits.detach(), value, grad)


def _backward(logits: Tensor, x: Tensor, grad_logits: Tensor) -> Tensor:
    """Return the gradient at x, zero where x does not reach the logits.

    Raises:
        UserError: the network writes over values that its gradient needs.
    """
    try:
        (grad,) = torch.autograd.grad(
            logits, x, grad_logits, allow_unused=True, materialize_grads=True
        )
    except RuntimeError as error:
        if "modified by an inplace operation" not in str(error):
            raise
        raise UserError(
            "the network has no gradient, because a step writes over values that the gradient "
            "needs; set inplace=False, or write x = x + y instead of x += y"
        ) from error
    return grad

"""Batch norm whose statistics the caller chooses, pass by pass.

Adversarial training runs one network in three ways within a step (appendix A and the authors'
code): the attack and the clean pass on the statistics of their own batch without touching the
running ones, the adversarial pass on its batch statistics with the running ones moved, and
validation on the running ones. `eval()` gives the last; the two contexts below give the others.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from pyrobust.errors import UserError

# Layers that `BatchNorm` computes in place of; subclasses may do more.
_CONVERTED = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class BatchNorm(nn.BatchNorm2d):
    """`nn.BatchNorm2d` with a switch for the running statistics and with virtual batches.

    The layout of its state is that of `nn.BatchNorm2d`. In contrast to it, the running variance
    is the mean of the *biased* batch variances, as in the authors' framework.

    Attributes:
        tracking: whether a pass in training mode moves the running statistics.
        virtual_batch: images that share batch statistics; 0 is the whole batch. The running
            statistics then move towards the mean over the virtual batches.
    """

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__(num_features, eps=eps, momentum=0.1)
        self.tracking = True
        self.virtual_batch = 0

    def forward(self, input: Tensor) -> Tensor:
        """Normalise `input` of shape (N, C, ...)."""
        if not self.training:
            return self._normalize_by_running(input)
        if self.tracking and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        if self.virtual_batch in (0, len(input)):
            return self._normalize(input, self.momentum or 0.0)
        parts = torch.split(input, self.virtual_batch)
        shares = _sequential_shares(self.momentum or 0.0, len(parts))
        return torch.cat([self._normalize(*pair) for pair in zip(parts, shares, strict=True)])

    def _normalize_by_running(self, input: Tensor) -> Tensor:
        assert self.running_mean is not None and self.running_var is not None
        if input.dtype != self.weight.dtype:
            return F.batch_norm(
                input,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                training=False,
                eps=self.eps,
            )
        # A line per channel, without the sums that the way back through `F.batch_norm` computes
        # even where no parameter asks for them: a third of its time on the CPU.
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        shift = torch.addcmul(self.bias, self.running_mean, scale, value=-1)
        shape = (-1, *(1 for _ in input.shape[2:]))
        return torch.addcmul(shift.view(shape), input, scale.view(shape))

    def _normalize(self, input: Tensor, momentum: float) -> Tensor:
        if input.numel() == input.shape[1]:
            raise UserError(
                f"batch norm has one value per channel, from an input of shape "
                f"{tuple(input.shape)}, and cannot compute statistics; train with a larger "
                "batch_size, fewer processes or larger images"
            )
        if not self.tracking:
            return F.batch_norm(
                input, None, None, self.weight, self.bias, training=True, eps=self.eps
            )
        assert self.running_var is not None
        # torch averages the unbiased variance, n / (n - 1) times the biased one; scaling the old
        # average by the same factor before, and the sum back after, leaves the biased average.
        # A new tensor, since autograd keeps the one that was passed.
        count = input.numel() / input.shape[1]
        unbiased = count / max(count - 1, 1)
        variance = self.running_var * unbiased
        output = F.batch_norm(
            input,
            self.running_mean,
            variance,
            self.weight,
            self.bias,
            training=True,
            momentum=momentum,
            eps=self.eps,
        )
        self.running_var.copy_(variance).div_(unbiased)
        return output


def running_momentum(update: int, decay: float = 0.99) -> float:
    """Return the weight of the newest batch in the running statistics.

    The authors average with decay 0.99 from zero and divide by 1 - 0.99^t. That equals moving
    the average by (1 - decay) / (1 - decay^t): 1 at the first update, 0.01 in the long run.

    Args:
        update: number of the update, from 1.
    """
    return float((1 - decay) / (1 - decay**update))


def _sequential_shares(momentum: float, parts: int) -> list[float]:
    """Return momenta that, applied one after another, weigh each part by momentum / parts."""
    share = momentum / parts
    return [share / (1 - share * (parts - 1 - part)) for part in range(parts)]


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Normalise by the statistics of the batch and leave the running ones alone."""
    with _mode(model, tracking=False, momentum=0.0):
        yield


@contextmanager
def tracked_statistics(model: nn.Module, momentum: float) -> Iterator[None]:
    """Normalise by the statistics of the batch and move the running ones by `momentum`."""
    with _mode(model, tracking=True, momentum=momentum):
        yield


@contextmanager
def recorded_statistics(model: nn.Module) -> Iterator[dict[nn.Module, tuple[Tensor, Tensor]]]:
    """Record the batch statistics of the pass inside the block.

    Yields:
        layer → mean and biased variance of its input, (C,) each, in float32 and with their graph.

    Raises:
        UserError: the pass uses a layer twice.
    """
    found: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def record(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        if layer in found:
            raise UserError("the network uses a batch-norm layer twice; use one for each place")
        x = given[0].float()
        sums = [0, *range(2, x.ndim)]
        found[layer] = x.mean(sums), x.var(sums, correction=0)

    handles = [layer.register_forward_pre_hook(record) for layer in batch_norms(model)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def set_virtual_batch(model: nn.Module, virtual_batch: int) -> None:
    """Let every `virtual_batch` images in a row share batch statistics; 0 is the whole batch.

    Raises:
        UserError: `model` has no batch norm, or a variant without virtual batches.
    """
    layers = batch_norms(model)
    others = {type(layer).__name__ for layer in layers if not isinstance(layer, BatchNorm)}
    if virtual_batch and (others or not layers):
        raise UserError(
            f"virtual_batch is {virtual_batch}, but the network normalises by "
            f"{', '.join(sorted(others)) or 'no batch norm'}: set it to 0"
        )
    for layer in layers:
        if isinstance(layer, BatchNorm):
            layer.virtual_batch = virtual_batch


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """Return the batch-norm layers in the order of the state dict."""
    return [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]


def convert_batch_norms(network: nn.Module) -> nn.Module:
    """Return `network` with torch's batch-norm layers replaced by `BatchNorm`, keys unchanged.

    Subclasses, such as those of timm that hold an activation, stay: the contexts below switch
    their statistics too, but they average the unbiased variance, and have no virtual batches.

    Raises:
        UserError: a layer normalises by the batch in evaluation, or by all processes' batches.
    """
    for name, layer in network.named_modules():
        if isinstance(layer, _BatchNorm | _InstanceNorm):
            _check_statistics(name, layer)
    if type(network) in _CONVERTED and isinstance(network, _BatchNorm) and network.affine:
        return _converted(network)
    for parent in list(network.modules()):
        for name, layer in parent.named_children():
            if type(layer) in _CONVERTED and isinstance(layer, _BatchNorm) and layer.affine:
                setattr(parent, name, _converted(layer))
    return network


def _check_statistics(name: str, layer: _BatchNorm | _InstanceNorm) -> None:
    if isinstance(layer, nn.SyncBatchNorm):
        problem = "shares statistics between processes; use nn.BatchNorm2d"
    elif isinstance(layer, _InstanceNorm) and layer.track_running_stats:
        problem = "averages running statistics, which an attack would move; leave them off"
    elif isinstance(layer, _BatchNorm) and layer.running_mean is None:
        problem = "has no running statistics, so an image's logits would depend on its batch"
    else:
        return
    raise UserError(f"layer {name or 'of the network'} ({type(layer).__name__}) {problem}")


def _converted(layer: _BatchNorm) -> BatchNorm:
    new = BatchNorm(layer.num_features, layer.eps)
    new.weight, new.bias = layer.weight, layer.bias
    for name, value in layer.named_buffers():
        new.register_buffer(name, value)
    return new.train(layer.training)


def running_statistics(model: nn.Module) -> list[Tensor]:
    """Return all running means and variances."""
    pairs = [(layer.running_mean, layer.running_var) for layer in batch_norms(model)]
    return [statistic for pair in pairs for statistic in pair if statistic is not None]


@contextmanager
def _mode(model: nn.Module, tracking: bool, momentum: float) -> Iterator[None]:
    layers = batch_norms(model)
    # What makes torch's own layers leave their running statistics alone in training mode.
    switches = ["tracking" if isinstance(b, BatchNorm) else "track_running_stats" for b in layers]
    before = [
        (layer.training, layer.momentum, getattr(layer, switch))
        for layer, switch in zip(layers, switches, strict=True)
    ]
    try:
        for layer, switch in zip(layers, switches, strict=True):
            layer.training, layer.momentum = True, momentum
            setattr(layer, switch, tracking)
        yield
    finally:
        for layer, switch, old in zip(layers, switches, before, strict=True):
            layer.training, layer.momentum = old[:2]
            setattr(layer, switch, old[2])

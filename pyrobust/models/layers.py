"""What the architectures share: normalised input, padding as in TensorFlow, activations."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pyrobust.errors import UserError
from pyrobust.models.batch_norm import BatchNorm
from pyrobust.models.spec import Normalization, stated_normalization

_ACTIVATIONS: dict[str, type[nn.Module]] = {"silu": nn.SiLU, "relu": nn.ReLU}


def make_activation(name: str) -> nn.Module:
    """Return a new activation layer; `name` is silu (the paper's Swish) or relu."""
    return _ACTIVATIONS[name]()


class Conv3x3(nn.Conv2d):
    """A 3×3 convolution without bias, padded as TensorFlow's SAME.

    The published weights come from JAX: with stride 2 an even side is padded by (0, 1) and not
    by (1, 1), and the output side is ceil(side / stride).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False
        )

    def forward(self, input: Tensor) -> Tensor:
        """Convolve `input` of shape (N, in, H, W)."""
        return self.convolve(input, self.weight)

    def convolve(self, input: Tensor, weight: Tensor) -> Tensor:
        """Convolve `input` of shape (N, in, H, W) with other weights (out, in, 3, 3)."""
        height, width = input.shape[-2:]
        if self.stride[0] == 1 or (height % 2 and width % 2):
            return F.conv2d(input, weight, None, self.stride, self.padding)
        padded = F.pad(input, (width % 2, 1, height % 2, 1))
        return F.conv2d(padded, weight, None, self.stride)


class ImageClassifier(nn.Module):
    """A network that takes pixels in [0, 1]; the base of every architecture.

    A subclass sets `batchnorm`, `relu` and `logits`, and defines `body`.

    Args:
        mean, std: per channel, for pixels in [0, 1]; they belong to the model but, as in the
            published files, not to its state dict.
    """

    mean: Tensor
    std: Tensor
    batchnorm: BatchNorm
    relu: nn.Module
    logits: nn.Linear

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def body(self, x: Tensor) -> Tensor:
        """Map normalised images (N, C, H, W) to the input of the last batch norm."""
        raise NotImplementedError

    def features(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [0, 1] to the penultimate layer (N, D) in float32."""
        out = self.relu(self.batchnorm(self.body((x - self.mean) / self.std)))
        # A mean over all positions, where the public code pools 8x8: the same on 32x32 images.
        return torch.mean(out, (2, 3), dtype=torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [0, 1] to logits (N, K)."""
        return self.logits(self.features(x))  # type: ignore[no-any-return]


def own_normalization(network: nn.Module, channels: int) -> Normalization | None:
    """Return the mean and deviation that a network keeps, and applies to pixels itself.

    Returns None without buffers `mean` and `std` of one number per channel, or one for all.
    """
    held = dict(network.named_buffers(recurse=False))
    if not {"mean", "std"} <= held.keys():
        return None
    mean, std = (tuple(held[name].flatten().tolist()) for name in ("mean", "std"))
    try:
        return stated_normalization(mean, std, channels)
    except UserError:  # they are something else
        return None


def check_weights(network: nn.Module, name: str) -> None:
    """Refuse a network with weights that have no values yet, except on a default device "meta".

    Args:
        name: of the network, for the message.

    Raises:
        UserError: names the first of them.
    """
    if torch.get_default_device().type == "meta":
        return
    for key, value in itertools.chain(network.named_parameters(), network.named_buffers()):
        if is_lazy(value) or value.is_meta:
            raise UserError(
                f"{name} has no values in {key}; load its weights, or pass images through it, first"
            )

"""Common corruptions, made locally: eleven kinds in five severities.

Their parameters are those of CIFAR-10-C (Hendrycks and Dietterich 2019) where the kind is the
same. The images are not those of the benchmark, which this does not replace. As there, a
corrupted image is rounded to 8 bits.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as vision

from pyrobust import ops
from pyrobust.evaluation.weather import fog, snow

# A number, or several where a kind has more than one parameter.
Strength = TypeVar("Strength", float, tuple[float, ...])
# (x, sample_ids, seed, strength) -> corrupted images.
Corrupt = Callable[[Tensor, Tensor, int, Strength], Tensor]


@dataclass(frozen=True)
class Corruption(Generic[Strength]):
    """One kind of corruption and its strength at severities 1 to 5."""

    make: Corrupt[Strength]
    strengths: tuple[Strength, Strength, Strength, Strength, Strength]

    def __call__(self, x: Tensor, sample_ids: Tensor, severity: int, seed: int) -> Tensor:
        """Return corrupted images of the shape of x (N, C, H, W), in [0, 1].

        An image's noise depends on (seed, sample id, kind) and is the same in all severities.
        """
        made = self.make(x, sample_ids, seed, self.strengths[severity - 1])
        return (255 * made.clamp(0, 1)).round() / 255


def _gaussian_noise(x: Tensor, sample_ids: Tensor, seed: int, deviation: float) -> Tensor:
    return x + deviation * ops.normal(sample_ids, x.shape[1:], seed, 0)


def _speckle_noise(x: Tensor, sample_ids: Tensor, seed: int, deviation: float) -> Tensor:
    return x + deviation * x * ops.normal(sample_ids, x.shape[1:], seed, 1)


def _impulse_noise(x: Tensor, sample_ids: Tensor, seed: int, share: float) -> Tensor:
    """Set a share of the values to 0 or 1."""
    draw = ops.uniform(sample_ids, x.shape[1:], seed, 2)
    return torch.where(draw < share, (draw < share / 2).to(x.dtype), x)


def _gaussian_blur(x: Tensor, sample_ids: Tensor, seed: int, deviation: float) -> Tensor:
    """Blur along each axis in turn, by sums over shifted images: the same bits in any batch."""
    reach = min(math.ceil(3 * deviation), x.shape[-1] - 1, x.shape[-2] - 1)
    weights = [math.exp(-0.5 * (k / deviation) ** 2) for k in range(-reach, reach + 1)]
    height, width = x.shape[-2:]
    rows = F.pad(x, (0, 0, reach, reach), mode="reflect")
    blurred = sum(w * rows[..., k : k + height, :] for k, w in enumerate(weights))
    columns = F.pad(torch.as_tensor(blurred), (reach, reach, 0, 0), mode="reflect")
    twice = sum(w * columns[..., k : k + width] for k, w in enumerate(weights))
    return torch.as_tensor(twice) / sum(weights) ** 2


def _brightness(x: Tensor, sample_ids: Tensor, seed: int, gain: float) -> Tensor:
    """Raise the value of each pixel in HSV; hue and saturation stay."""
    value = x.amax(1, keepdim=True)
    return torch.where(value > 0, x * ((value + gain).clamp(max=1) / value), gain)


def _contrast(x: Tensor, sample_ids: Tensor, seed: int, factor: float) -> Tensor:
    mean = x.double().mean((2, 3), keepdim=True).to(x.dtype)
    return (x - mean) * factor + mean


def _saturation(x: Tensor, sample_ids: Tensor, seed: int, factor: float) -> Tensor:
    return vision.adjust_saturation(x, factor) if x.shape[1] == 3 else x


def _pixelate(x: Tensor, sample_ids: Tensor, seed: int, share: float) -> Tensor:
    size = [max(int(share * side), 1) for side in x.shape[-2:]]
    small = F.interpolate(x, size=size, mode="area")
    return F.interpolate(small, size=list(x.shape[-2:]), mode="nearest-exact")


def _jpeg(x: Tensor, sample_ids: Tensor, seed: int, quality: float) -> Tensor:
    pixels = (255 * x).round().to(torch.uint8).cpu()
    if pixels.shape[1] not in (1, 3):
        return x
    made = []
    for image in pixels.permute(0, 2, 3, 1).numpy():
        file = BytesIO()
        Image.fromarray(image.squeeze(-1) if image.shape[2] == 1 else image).save(
            file, "JPEG", quality=int(quality)
        )
        made.append(torch.from_numpy(np.array(Image.open(file))).view(image.shape))
    return torch.stack(made).permute(0, 3, 1, 2).to(x) / 255


CORRUPTIONS: Mapping[str, Corruption[Any]] = MappingProxyType(
    {
        "gaussian_noise": Corruption(_gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),
        "speckle_noise": Corruption(_speckle_noise, (0.06, 0.1, 0.12, 0.16, 0.2)),
        "impulse_noise": Corruption(_impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07)),
        "gaussian_blur": Corruption(_gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1.0)),
        "fog": Corruption(fog, ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))),
        "snow": Corruption(
            snow,
            (
                (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
                (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
                (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
                (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
                (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
            ),
        ),
        "brightness": Corruption(_brightness, (0.05, 0.1, 0.15, 0.2, 0.3)),
        "contrast": Corruption(_contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),
        "saturation": Corruption(_saturation, (0.3, 0.1, 1.5, 2.0, 2.5)),
        "pixelate": Corruption(_pixelate, (0.95, 0.9, 0.85, 0.75, 0.65)),
        "jpeg": Corruption(_jpeg, (80, 65, 58, 50, 40)),
    }
)

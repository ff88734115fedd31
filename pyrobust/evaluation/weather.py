"""Fog and snow, as CIFAR-10-C makes them (Hendrycks and Dietterich 2019), for images of any size.

Frost, their third weather corruption, pastes photographs of frost, which are not part of this
project.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from pyrobust import ops

# Random streams of a seed; other corruptions use those below.
_FOG, _FLAKES, _WIND = 3, 4, 5
_LUMA = (0.299, 0.587, 0.114)


def fog(x: Tensor, sample_ids: Tensor, seed: int, strength: tuple[float, ...]) -> Tensor:
    """Add a cloud of plasma noise, and rescale so that the brightest pixel stays as bright.

    Args:
        x: (N, C, H, W) in [0, 1].
        strength: density of the cloud, and its smoothness.
    """
    density, smoothness = strength
    height, width = x.shape[-2:]
    cloud = _plasma(sample_ids, max(height, width), seed, smoothness)[:, None, :height, :width]
    brightest = x.amax((1, 2, 3), keepdim=True)
    return (x + density * cloud.to(x.dtype)) * (brightest / (brightest + density))


def _plasma(sample_ids: Tensor, side: int, seed: int, decay: float) -> Tensor:
    """Return plasma noise in [0, 1] by the diamond-square algorithm, (N, S, S), S >= side.

    Each step halves the distance of the known points, and divides the noise by `decay` squared.
    The map is periodic.
    """
    size = 2 ** math.ceil(math.log2(max(side, 2)))
    draws = 2 * ops.uniform(sample_ids, (1, size, size), seed, _FOG)[:, 0].double() - 1
    made = torch.zeros_like(draws)
    step, noise = size, 100.0
    while step >= 2:
        whole, half = slice(0, size, step), slice(step // 2, size, step)

        def fill(rows: slice, columns: slice, four: Tensor, scale: float = noise**2) -> None:
            made[:, rows, columns] = four / 4 + scale * draws[:, rows, columns]

        corners = made[:, whole, whole]
        two = corners + corners.roll(-1, 1)
        fill(half, half, two + two.roll(-1, 2))
        middles = made[:, half, half]
        fill(whole, half, middles + middles.roll(1, 1) + corners + corners.roll(-1, 2))
        fill(half, whole, middles + middles.roll(1, 2) + corners + corners.roll(-1, 1))
        step, noise = step // 2, noise / decay
    made -= made.amin((1, 2), keepdim=True)
    return made / made.amax((1, 2), keepdim=True)


def snow(x: Tensor, sample_ids: Tensor, seed: int, strength: tuple[float, ...]) -> Tensor:
    """Whiten the image, and add flakes of noise, blurred along a random direction of the wind.

    Args:
        x: (N, C, H, W) in [0, 1].
        strength: mean and deviation of the noise, its magnification, the threshold of a flake,
            length and deviation of the blur in pixels, and the share of the image that stays.
    """
    mean, deviation, zoom, threshold, length, blur, share = strength
    height, width = x.shape[-2:]
    layer = mean + deviation * ops.normal(sample_ids, (1, height, width), seed, _FLAKES)
    layer = _magnified(layer, zoom)
    layer = torch.where(layer < threshold, 0.0, layer).clamp(0, 1)[:, 0]
    # Degrees from -135 to -45: from above.
    angles = 90 * ops.uniform(sample_ids, (1, 1, 1), seed, _WIND).flatten().double() - 135
    flakes = _blurred_along(layer, angles, int(length), blur)[:, None].to(x.dtype)
    grey = x
    if x.shape[1] == 3:
        grey = sum(w * x[:, c : c + 1] for c, w in enumerate(_LUMA))  # type: ignore[assignment]
    whitened = share * x + (1 - share) * torch.maximum(x, 1.5 * grey + 0.5)
    return whitened + flakes + flakes.flip(2, 3)


def _magnified(layer: Tensor, zoom: float) -> Tensor:
    """Return the middle of a layer (N, 1, H, W), magnified to its size."""
    sides = layer.shape[-2:]
    small = [math.ceil(side / zoom) for side in sides]
    tops = [(side - s) // 2 for side, s in zip(sides, small, strict=True)]
    middle = layer[..., tops[0] : tops[0] + small[0], tops[1] : tops[1] + small[1]]
    return F.interpolate(middle, size=list(sides), mode="bilinear", align_corners=True)


def _blurred_along(layer: Tensor, degrees: Tensor, length: int, deviation: float) -> Tensor:
    """Blur a layer (N, H, W) along one direction for each image, by whole pixels."""
    height, width = layer.shape[1:]
    images = torch.arange(len(layer), device=layer.device)[:, None, None]
    turns = [math.radians(angle) for angle in degrees.tolist()]
    directions = layer.new_tensor([[math.sin(turn), math.cos(turn)] for turn in turns])
    weights = [math.exp(-0.5 * (k / deviation) ** 2) for k in range(2 * length + 1)]
    blurred = torch.zeros_like(layer)
    for k, weight in enumerate(weights):
        shift = (k * directions).round().long()
        rows = torch.arange(height, device=layer.device) + shift[:, :1]
        columns = torch.arange(width, device=layer.device) + shift[:, 1:]
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
        blurred += weight / sum(weights) * layer[images, rows[:, :, None], columns[:, None]]
    return blurred

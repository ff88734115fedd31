"""Models by name, file, module or hub repository, as pixels in [0, 1] to float32 logits."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from pyrobust.evaluation.logits_model import LogitsModel
from pyrobust.evaluation.model_sources import ModelSource, open_model
from pyrobust.models.spec import Normalization, stated_normalization
from pyrobust.ops.device import choose_device

Model = nn.Module | str | Path


def model_source(
    model: Model,
    weights: str | Path | None = None,
    mean: float | Sequence[float] = (),
    std: float | Sequence[float] = (),
) -> ModelSource:
    """Return what the user states about a model, as the command line reads it."""
    return ModelSource(
        str(model) if isinstance(model, Path) else model,
        None if weights is None else Path(weights),
        _numbers(mean),
        _numbers(std),
    )


def load(
    model: Model,
    image_shape: Sequence[int] = (3, 32, 32),
    *,
    num_classes: int | None = None,
    dataset: str | None = None,
    weights: str | Path | None = None,
    mean: float | Sequence[float] = (),
    std: float | Sequence[float] = (),
    device: str = "auto",
) -> LogitsModel:
    """Return a model that maps pixels (N, C, H, W) in [0, 1] to float32 logits (N, K).

    It is in evaluation mode, its parameters have no gradients, and a module of yours is copied.

    Args:
        model: the name of a published model (`pyrobust models` lists them), a file
            (.safetensors, .pt, TorchScript or torch.export), a `torch.nn.Module`, MODULE:NAME of
            a constructor, timm:NAME, torchvision:NAME, or hf:OWNER/REPOSITORY.
        image_shape: (C, H, W) of its images.
        num_classes: K, for constructors that take it and to check all others.
        dataset: cifar10, cifar100, ...: published checkpoints normalise by it.
        weights: checkpoint for a constructor, read without running code.
        mean, std: per channel or one for all, if the model expects (pixels - mean) / std.
        device: auto, cpu or cuda.

    Raises:
        UserError: the model is missing, damaged, or for other images; says what to change.
    """
    image = torch.full((1, *image_shape), 0.5, device=choose_device(device))
    return open_model(model_source(model, weights, mean, std), image, num_classes, dataset)


def epsilon_of(epsilon: str | float) -> str | float:
    """Return a radius as settings read it: text such as "8/255", or a number."""
    return epsilon if isinstance(epsilon, str) else float(epsilon)


def normalization_of(
    mean: float | Sequence[float], std: float | Sequence[float], channels: int
) -> Normalization | None:
    """Return a normalisation with one number per channel; None where neither is given."""
    return stated_normalization(_numbers(mean), _numbers(std), channels)


def _numbers(values: float | Sequence[float]) -> tuple[float, ...]:
    return (float(values),) if isinstance(values, int | float) else tuple(map(float, values))

"""Models by name, file, module or hub repository, as pixels in [0, 1] to float32 logits."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from pyrobust.config import parse_settings
from pyrobust.config.api import ImageShape
from pyrobust.errors import UserError
from pyrobust.evaluation.logits_model import LogitsModel
from pyrobust.evaluation.model_sources import ModelSource, model_file, open_model
from pyrobust.models.spec import Normalization, stated_normalization
from pyrobust.ops.device import choose_device

Model = nn.Module | Callable[[Tensor], Tensor] | str | Path


def model_source(
    model: Model,
    weights: str | Path | None = None,
    mean: float | Sequence[float] = (),
    std: float | Sequence[float] = (),
) -> ModelSource:
    """Return what the user states about a model, as the command line reads it.

    Raises:
        UserError: it is not a model, or a number is none.
    """
    if isinstance(model, type):
        raise UserError(f"model is the class {model.__name__}: call it, and give the network")
    if not isinstance(model, str | Path | nn.Module):
        if not callable(model):
            raise UserError(
                f"model is a {type(model).__name__}, expected a torch.nn.Module, a function of "
                "images, a file, or the name of a model"
            )
        model = _Function(model)
    return ModelSource(
        model_file(str(model)) if isinstance(model, str | Path) else model,
        None if weights is None else Path(weights),
        _numbers("mean", mean),
        _numbers("std", std),
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
        model: a `torch.nn.Module` or a function of images; a file (.safetensors, .pt,
            TorchScript or torch.export) or the folder of a training; the name of a published
            model (docs/evaluation.md lists them); MODULE:NAME of a constructor, timm:NAME,
            torchvision:NAME, or hf:OWNER/REPOSITORY.
        image_shape: (C, H, W) of its images.
        num_classes: K, for constructors that take it and to check all others.
        dataset: cifar10, cifar100, ...: published checkpoints normalise by it.
        weights: checkpoint for a module or a constructor, read without running code.
        mean, std: per channel or one for all, if the model expects (pixels - mean) / std.
        device: auto, cpu or cuda.

    Raises:
        UserError: the model is missing, damaged, or for other images; says what to change.
    """
    shape = parse_settings(ImageShape, {"image_shape": image_shape}).image_shape
    image = torch.full((1, *shape), 0.5, device=choose_device(device))
    return open_model(model_source(model, weights, mean, std), image, num_classes, dataset)


def epsilon_of(epsilon: str | float) -> str | float:
    """Return a radius as settings read it: text such as "8/255", or a number.

    Raises:
        UserError: it is neither.
    """
    if isinstance(epsilon, str):
        return epsilon
    try:
        return float(epsilon)
    except (TypeError, ValueError) as error:
        raise UserError(
            f'epsilon is {epsilon!r}, expected a number or text such as "8/255"'
        ) from error


def normalization_of(
    mean: float | Sequence[float], std: float | Sequence[float], channels: int
) -> Normalization | None:
    """Return a normalisation with one number per channel; None where neither is given."""
    return stated_normalization(_numbers("mean", mean), _numbers("std", std), channels)


def _numbers(name: str, values: float | Sequence[float]) -> tuple[float, ...]:
    try:
        return (float(values),) if isinstance(values, int | float) else tuple(map(float, values))
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{name} is {values!r}, expected a number, or one for each channel"
        ) from error


class _Function(nn.Module):
    """A plain function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, x: Tensor) -> Tensor:
        return self._function(x)

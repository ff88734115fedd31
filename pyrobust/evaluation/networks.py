"""The network that is evaluated: ours, a TorchScript file, or a constructor with weights."""

import importlib
import inspect
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pyrobust.errors import UserError
from pyrobust.files import sha256_of
from pyrobust.models import load_model
from pyrobust.models.checkpoints import read_checkpoint
from pyrobust.models.files import load_strictly


@dataclass(frozen=True)
class NetworkSource:
    """Where a network comes from.

    Args:
        model: a `.safetensors` file of this project, a TorchScript file, or a constructor by its
            path, such as torchvision.models:resnet18; importing it runs its module's code.
        weights: state dict for a constructor, read without running code.
        mean, std: per channel, for a network that wants (pixels - mean) / std; one of this
            project knows its own.
    """

    model: str
    weights: Path | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def identity(self) -> dict[str, object]:
        """Return JSON values that tell this network from any other."""
        files = [path for path in (Path(self.model), self.weights) if path and path.is_file()]
        return {
            "model": self.model if ":" in self.model else None,
            "sha256": [sha256_of(path) for path in files],
            "mean": self.mean,
            "std": self.std,
        }


def open_network(source: NetworkSource, image: Tensor, num_classes: int) -> nn.Module:
    """Return the network in evaluation mode, its parameters without gradients.

    Args:
        image: (1, C, H, W) in [0, 1], on the device of the network to be.

    Raises:
        UserError: files that are missing or no such files, or a network for other images or
            another number of classes.
    """
    network = _load(source, num_classes, image)
    if source.mean or source.std:
        network = _Normalized(network, source.mean, source.std, image)
    # A third faster on the CPU: passes are channels-last too.
    network = network.eval().to(memory_format=torch.channels_last)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    try:
        with torch.no_grad():
            shape = tuple(network(image).shape)
    except RuntimeError as error:
        raise UserError(
            f"{source.model} does not take images of shape {tuple(image.shape[1:])} "
            f"({str(error).strip().splitlines()[-1]}): evaluate it on the data set it was made for"
        ) from error
    if shape != (1, num_classes):
        raise UserError(
            f"{source.model} answers an image with an output of shape {shape}, but the data set "
            f"has {num_classes} classes: evaluate it on the data set it was made for"
        )
    return network


def _load(source: NetworkSource, num_classes: int, image: Tensor) -> nn.Module:
    if ":" in source.model:
        return _constructed(source, num_classes).to(image.device)
    path = Path(source.model)
    if path.suffix == ".safetensors" or not path.is_file():
        network, spec = load_model(path, image.device)
        height, width, channels = spec.image_shape
        # Pooling and broadcasting would let images of other shapes pass.
        if (channels, height, width) != tuple(image.shape[1:]):
            raise UserError(
                f"{path} was made for images of shape {spec.image_shape}, but those of the data "
                f"set are {tuple(image[0].permute(1, 2, 0).shape)}: evaluate it on its own"
            )
        return network
    try:
        scripted: nn.Module = torch.jit.load(path, map_location=image.device)  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise UserError(
            f"{path} is no TorchScript file: a published checkpoint becomes a model by "
            f"'pyrobust convert {path} {path.with_suffix('.safetensors').name}'"
        ) from error
    return scripted


def _constructed(source: NetworkSource, num_classes: int) -> nn.Module:
    module_name, _, name = source.model.partition(":")
    try:
        constructor = getattr(importlib.import_module(module_name), name)
        parameters = inspect.signature(constructor).parameters
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UserError(
            f"{source.model} names no constructor ({error}): expected MODULE:NAME as Python "
            "imports it, such as torchvision.models:resnet18"
        ) from error
    # torchvision's constructors take what is left as keywords, num_classes among them.
    takes_classes = "num_classes" in parameters or any(
        parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()
    )
    network = constructor(num_classes=num_classes) if takes_classes else constructor()
    if source.weights is None:
        raise UserError(f"{source.model} has no weights: name their file with --weights")
    load_strictly(network, read_checkpoint(source.weights), str(source.weights))
    return network  # type: ignore[no-any-return]


class _Normalized(nn.Module):
    """A network behind its normalisation."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], image: Tensor
    ) -> None:
        super().__init__()
        channels = image.shape[1]
        if not len(mean) == len(std) == channels or min(std) <= 0:
            raise UserError(
                f"mean {mean} and std {std} do not fit images of {channels} channels: expected a "
                "number for each channel, and std above 0"
            )
        self.network = network
        self.register_buffer("mean", image.new_tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", image.new_tensor(std).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map pixels (N, C, H, W) in [0, 1] to logits (N, K)."""
        logits: Tensor = self.network((x - self.mean) / self.std)
        return logits

"""The network that is evaluated: ours, a published or an exported one, or a constructor's."""

import importlib
import inspect
import os
import pickle
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pyrobust.errors import UserError
from pyrobust.files import sha256_of
from pyrobust.models import load_model
from pyrobust.models.checkpoints import read_checkpoint
from pyrobust.models.convert import load_published
from pyrobust.models.files import load_strictly
from pyrobust.models.spec import ModelSpec


@dataclass(frozen=True)
class NetworkSource:
    """Where a network comes from.

    Args:
        model: a `.safetensors` file of this project, a published checkpoint (`.pt`, RobustBench's
            too), a file of TorchScript or of torch.export, or a constructor by its path, such as
            torchvision.models:resnet18; importing it runs its module's code.
        weights: state dict for a constructor, read without running code.
        mean, std: per channel, for a network that wants (pixels - mean) / std; one of this
            project knows its own, and that of a published one is its data set's.
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


def open_network(source: NetworkSource, image: Tensor, num_classes: int, dataset: str) -> nn.Module:
    """Return the network in evaluation mode, its parameters without gradients.

    Args:
        image: (1, C, H, W) in [0, 1], on the device of the network to be.
        dataset: name of the data set; published networks normalise by it.

    Raises:
        UserError: files that are missing or no such files, or a network for other images or
            another number of classes.
    """
    network = _load(source, num_classes, image, dataset)
    if source.mean or source.std:
        network = _Normalized(network, source.mean, source.std, image)
    # A third faster on the CPU: passes are channels-last too.
    network = network.to(memory_format=torch.channels_last)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    try:
        with torch.no_grad():
            # A number of images that nobody exports a network for by chance.
            shape = tuple(network(image.expand(3, -1, -1, -1)).shape)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"{source.model} does not take 3 images of shape {tuple(image.shape[1:])} "
            f"({str(error).strip().splitlines()[-1]}): evaluate it on the data set it was made "
            "for, and export a network for any number of images (torch.export.Dim)"
        ) from error
    if shape != (3, num_classes):
        raise UserError(
            f"{source.model} answers 3 images with an output of shape {shape}, but the data set "
            f"has {num_classes} classes: evaluate it on the data set it was made for"
        )
    return network


def _load(source: NetworkSource, num_classes: int, image: Tensor, dataset: str) -> nn.Module:
    if ":" in source.model:
        return _constructed(source, num_classes).eval().to(image.device)
    path = Path(source.model)
    if path.suffix == ".safetensors" or not path.is_file():
        network, spec = load_model(path, image.device)
        _check_shape(path, spec, image)
        return network
    names = zipfile.ZipFile(path).namelist() if zipfile.is_zipfile(path) else []
    if any(name.endswith("/constants.pkl") for name in names):
        scripted: nn.Module = torch.jit.load(path, map_location=image.device)  # type: ignore[no-untyped-call]
        return scripted.eval()
    if any(name.endswith("/archive_format") for name in names):
        # It was exported in one mode and has no other.
        return _exported(path).to(image.device)
    # `open_network` normalises by what the user gives.
    channels = image.shape[1]
    given = ((0.0,) * channels, (1.0,) * channels) if source.mean or source.std else None
    published, spec = load_published(path, dataset, image_size=image.shape[2], normalization=given)
    _check_shape(path, spec, image)
    return published.to(image.device)


def _check_shape(path: Path, spec: ModelSpec, image: Tensor) -> None:
    """Refuse images that pooling and broadcasting would let pass."""
    height, width, channels = spec.image_shape
    if (channels, height, width) != tuple(image.shape[1:]):
        raise UserError(
            f"{path} was made for images of shape {spec.image_shape}, but those of the data "
            f"set are {tuple(image[0].permute(1, 2, 0).shape)}: evaluate it on its own"
        )


def _exported(path: Path) -> nn.Module:
    try:
        with _no_pickles():
            return torch.export.load(path).module()
    except (pickle.UnpicklingError, RuntimeError, AssertionError, ValueError) as error:
        raise UserError(
            f"{path} is no file of torch.export that can be read without running its code "
            f"({str(error).splitlines()[0]}): export the network again by torch.export.save"
        ) from error


@contextmanager
def _no_pickles() -> Iterator[None]:
    """Keep PyTorch from running code that a file brings along, for the block."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


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

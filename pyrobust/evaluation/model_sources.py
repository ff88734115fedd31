"""From what a user names to a model: a file, a published name, a constructor, or a module."""

import copy
import inspect
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from pyrobust.errors import OwnCodeError, UserError, reason_of
from pyrobust.evaluation.logits_model import LogitsModel
from pyrobust.evaluation.model_zoos import build_from_zoo, hub_weights, zoo_of
from pyrobust.files import sha256_of
from pyrobust.imports import import_object, source_sha256
from pyrobust.models.checkpoints import read_checkpoint
from pyrobust.models.convert import Statements, load_classifier
from pyrobust.models.files import (
    WEIGHTS,
    load_model,
    load_strictly,
    needed_keys,
    read_spec,
    sha256_of_state,
)
from pyrobust.models.hooks import REMOVAL, layer_with_hooks
from pyrobust.models.imported import literal_arguments
from pyrobust.models.layers import check_weights, own_normalization
from pyrobust.models.memory_format import to_channels_last
from pyrobust.models.published import PUBLISHED, download
from pyrobust.models.spec import (
    GIVEN,
    ModelSpec,
    Normalization,
    agreed,
    stated_normalization,
)

# Where published checkpoints are downloaded to.
DOWNLOADS = Path("resources/checkpoints")


@dataclass(frozen=True)
class ModelSource:
    """Where a model comes from, and what the user states about it.

    Args:
        model: a module; or a `.safetensors` file of this project, a published checkpoint (`.pt`,
            RobustBench's too), a file of TorchScript or of torch.export, the name of a published
            model, or a constructor by its path, such as torchvision.models:resnet18; importing
            it runs its module's code; or timm:NAME, torchvision:NAME, hf:OWNER/REPOSITORY.
        weights: checkpoint for a module or a constructor, read without running code.
        mean, std: per channel or one for all, for a network that takes (pixels - mean) / std. A
            file that states its own normalisation must agree.
    """

    model: str | Path | nn.Module
    weights: Path | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """What the user calls the model."""
        return type(self.model).__name__ if isinstance(self.model, nn.Module) else str(self.model)

    @property
    def is_constructor(self) -> bool:
        """Whether the model is named by MODULE:NAME."""
        return (
            isinstance(self.model, str)
            and ":" in self.model
            and zoo_of(self.model) is None
            and not Path(self.model).is_file()
        )

    def identity(self) -> dict[str, object]:
        """Return JSON values that change with the model's name, files, source and normalisation.

        Other changes of what a network computes are detected by its logits (`saved_state`).
        """
        if isinstance(self.model, nn.Module):
            weights = [self.weights] if self.weights and self.weights.is_file() else []
            return {
                "model": self.name,
                "sha256": [sha256_of_state(self.model), *map(sha256_of, weights)],
                "mean": self.mean,
                "std": self.std,
            }
        own = hub_weights(self.name) if zoo_of(self.model) == "hf" else Path(self.model)
        files = [path for path in (own, self.weights) if path and path.is_file()]
        source = _sha256_of_source(self.name) if self.is_constructor else None
        return {
            "model": None if Path(self.model).is_file() else self.name,
            "sha256": [*map(sha256_of, files), *filter(None, [source])],
            "mean": self.mean,
            "std": self.std,
        }


# Index files of folders that a training wrote.
_INDEXES = ("choice.json", "training.json", "labeller.json")


def model_file(model: str) -> str:
    """Return the weights in a folder of a training, or beside its index; else `model` itself."""
    path = Path(model)
    if path.name in _INDEXES:
        return str(path.with_name(WEIGHTS))
    try:
        found = (path / WEIGHTS).is_file()
    except OSError:  # a constructor call that is too long for a file name
        found = False
    return str(path / WEIGHTS) if found else model


def open_model(
    source: ModelSource, image: Tensor, num_classes: int | None, dataset: str | None
) -> LogitsModel:
    """Return the model in evaluation mode, from pixels in [0, 1] to float32 logits.

    The caller's module is copied: its mode, device and weights do not change.

    Args:
        image: (1, C, H, W) in [0, 1], on the device of the model to be.
        num_classes: of the images; None takes that of the model.
        dataset: name of the data set; published networks normalise by it.

    Raises:
        UserError: a file is missing or of no known kind, the user contradicts it, or the model is
            for other images or another number of classes.
    """
    stated = stated_normalization(source.mean, source.std, image.shape[1])
    network, own = _load(source, image, num_classes, dataset)
    applied = own_normalization(network, image.shape[1])
    normalization = agreed(
        "normalisation",
        {
            source.name: own,
            f"the buffers mean and std of {source.name}": applied,
            "--mean and --std": stated,
        },
    )
    check_weights(network, source.name)
    # A third faster on the CPU: passes are channels-last too.
    network = network.to(image.device)
    to_channels_last(network)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    outside = None if applied else normalization
    return LogitsModel(network, source.name, image, num_classes, outside)


def _load(
    source: ModelSource, image: Tensor, num_classes: int | None, dataset: str | None
) -> tuple[nn.Module, Normalization | None]:
    """Return a network in evaluation mode, and the normalisation it applies as far as known."""
    if isinstance(source.model, nn.Module):
        return _with_weights(_copied(source.model, source.name), source.weights)
    zoo = zoo_of(source.model)
    if source.is_constructor:
        return _constructed(source, num_classes)
    if zoo is not None and zoo != "hf":
        network, own = build_from_zoo(source.name, num_classes, pretrained=source.weights is None)
        return network, _read_weights(network, source.weights) if source.weights else own
    if source.weights is not None:
        raise UserError(
            f"--weights {source.weights} requires a constructor, but {source.model} is not of "
            "the form MODULE:NAME; omit --weights, or name the constructor"
        )
    path = hub_weights(source.name) if zoo else Path(source.model)
    if not path.is_file() and str(path) in PUBLISHED:
        path = download(PUBLISHED[str(path)], DOWNLOADS)
    if not path.is_file():
        found = f"a folder without {WEIGHTS}" if path.is_dir() else "missing"
        raise UserError(
            f"{path} is {found}; expected the folder of a 'pyrobust train', a file from 'pyrobust "
            "convert', a .pt file, MODULE:NAME with --weights FILE, or the name of a published "
            f"model such as {next(iter(PUBLISHED))}"
        )
    members = zipfile.ZipFile(path).namelist() if zipfile.is_zipfile(path) else []
    if any(name.endswith("/constants.pkl") for name in members):
        return _scripted(path).eval(), None
    if any(name.endswith("/archive_format") for name in members):
        # It was exported in one mode and has no other.
        return _exported(path), None
    height, width = image.shape[2:]
    stated = Statements(mean=source.mean, std=source.std)
    network, spec = load_classifier(path, stated, dataset, (height, width))
    _check_shape(path, spec, image)
    return network, spec.normalization


def _with_weights(
    network: nn.Module, weights: Path | None
) -> tuple[nn.Module, Normalization | None]:
    """Return the network with the weights of a checkpoint, if there is one."""
    if weights is None:
        return network.eval(), None
    spec = read_spec(weights)
    if spec is not None and spec.architecture.startswith(GIVEN):  # of a network given in Python
        return load_model(weights, "cpu", network)[0], spec.normalization
    normalization = _read_weights(network, weights)
    return network.eval(), normalization


def _check_shape(path: Path, spec: ModelSpec, image: Tensor) -> None:
    """Refuse images that pooling and broadcasting would let pass."""
    height, width, channels = spec.image_shape
    if (channels, height, width) != tuple(image.shape[1:]):
        raise UserError(
            f"{path} was made for images of shape {spec.image_shape}, but the data set has "
            f"{tuple(image[0].permute(1, 2, 0).shape)}; evaluate it on its own data set"
        )


def _copied(module: nn.Module, name: str) -> nn.Module:
    check_weights(module, name)
    try:
        with torch.no_grad():  # copies of TorchScript parameters would depend on the originals
            return copy.deepcopy(module)
    except Exception as error:  # whatever an attribute of the module raises
        if hooked := layer_with_hooks(module):
            raise UserError(
                f"{name} cannot be copied, because layer {hooked} has hooks that compute its "
                f"weights; remove them first ({REMOVAL})"
            ) from error
        raise UserError(
            f"{name} cannot be copied ({type(error).__name__}: {error}); use MODULE:NAME with "
            "the file of its state dict"
        ) from error


def _scripted(path: Path) -> nn.Module:
    try:
        scripted: nn.Module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(
            f"{path} cannot be read as TorchScript ({reason}); save it again with torch.jit.save"
        ) from error
    return scripted


def _exported(path: Path) -> nn.Module:
    try:
        with _no_pickles():
            return torch.export.load(path).module()
    except MemoryError:
        raise
    except Exception as error:  # whatever a damaged or hostile file makes the reader raise
        reason = reason_of(error)
        raise UserError(
            f"{path} cannot be read as a torch.export file without running its code ({reason}); "
            "export the model again with torch.export.save"
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


def _constructed(
    source: ModelSource, num_classes: int | None
) -> tuple[nn.Module, Normalization | None]:
    """Return the network of MODULE:NAME, and the normalisation that its checkpoint states.

    Without a checkpoint, the constructor must return the same weights each time, since
    randomly initialised weights are not a model to evaluate.
    """
    name = source.name

    def build() -> nn.Module:
        return _built(found, name, num_classes)

    found = _constructor(name)
    if isinstance(found, nn.Module):
        network = _copied(found, name)
    elif callable(found):
        network = build()
    else:
        raise UserError(f"{name} is a {type(found).__name__}; expected a constructor or a module")
    normalization = None
    if source.weights is not None:
        normalization = _read_weights(network, source.weights)
    elif not isinstance(found, nn.Module) and not _same_state(network, build()):
        raise UserError(f"{name} has no trained weights; give them with --weights FILE")
    return network.eval(), normalization


def _read_weights(network: nn.Module, weights: Path) -> Normalization | None:
    """Load a checkpoint into a network; return the normalisation that it contains."""
    checkpoint = read_checkpoint(weights)
    expected = list(network.state_dict())
    state = checkpoint.state_with(needed_keys(expected)) if expected else {}
    normalization = checkpoint.normalization_beside(expected)
    if normalization is not None:
        state = {key: state[key] for key in state if key in expected or key not in _BESIDE}
    load_strictly(network, state, str(weights))
    return normalization


_BESIDE = ("mean", "std")


def _built(constructor: Callable[..., Any], name: str, num_classes: int | None) -> nn.Module:
    """Return the network that a constructor builds, for `num_classes` where it takes them."""
    network: Any = None
    failure: BaseException | None = None
    for arguments in _arguments(constructor, num_classes):
        try:
            network = constructor(**arguments)
            break
        except (Exception, SystemExit) as error:  # the constructor is the user's
            failure = error
    else:
        raise OwnCodeError(
            f"{name} cannot be called ({type(failure).__name__}: {failure}); name a function that "
            "returns the network and needs no argument except num_classes"
        ) from failure
    if not isinstance(network, nn.Module):
        raise UserError(f"{name} returns a {type(network).__name__}; expected a torch.nn.Module")
    return network


def _arguments(
    constructor: Callable[..., Any], num_classes: int | None
) -> Iterator[dict[str, int]]:
    """Yield the arguments to try, one set after another."""
    try:
        parameters = inspect.signature(constructor).parameters
    except (TypeError, ValueError):  # written in C
        parameters = MappingProxyType({})
    takes_others = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    is_stated = isinstance(constructor, partial) and "num_classes" in constructor.keywords
    takes_classes = ("num_classes" in parameters or takes_others) and not is_stated
    if num_classes is not None and takes_classes:
        # torchvision's constructors take what is left as keywords, num_classes among them.
        yield {"num_classes": num_classes}
    if "num_classes" not in parameters or num_classes is None or is_stated:
        # So does every module that inherits its constructor, and ignores them.
        yield {}


def _same_state(one: nn.Module, other: nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def _sha256_of_source(name: str) -> str | None:
    """Return the hash of the file of the code that MODULE:NAME names, where there is one."""
    try:
        found = _constructor(name)
        return source_sha256(found.func if isinstance(found, partial) else found)
    except UserError:  # opening the model will say so
        return None


def _constructor(name: str) -> Any:
    """Return what MODULE:NAME names, or the constructor NAME with the arguments (key=value)."""
    path, _, arguments = name.partition("(")
    found = import_object(path, "constructor", "torchvision.models:resnet18")
    if not arguments or not callable(found):
        return found
    return partial(found, **literal_arguments(arguments, name))

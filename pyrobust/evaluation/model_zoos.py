"""Models of model zoos by name: timm:NAME, torchvision:NAME, and hf:OWNER/REPOSITORY.

Weights are downloaded by these packages, into their own caches. Files of the Hub are read without
running code: safetensors and JSON alone.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from pyrobust.errors import UserError, reason_of
from pyrobust.models.files import WEIGHTS
from pyrobust.models.spec import Normalization

# What a name begins with; each but the last is a package that builds networks.
ZOOS = ("timm", "torchvision", "hf")


def zoo_of(name: object) -> str | None:
    """Return which of `ZOOS` a name belongs to, if any."""
    zoo, colon, _ = name.partition(":") if isinstance(name, str) else ("", "", "")
    return zoo if colon and zoo in ZOOS else None


def build_from_zoo(
    name: str, num_classes: int | None, pretrained: bool
) -> tuple[nn.Module, Normalization | None]:
    """Return the network of timm:NAME or torchvision:NAME, and its weights' normalisation.

    Args:
        num_classes: of a network without weights; pretrained ones keep their own classes.

    Raises:
        UserError: the package is missing, the name is unknown, or the weights cannot be had.
    """
    zoo, _, model = name.partition(":")
    build = _timm if zoo == "timm" else _torchvision
    try:
        network, normalization = build(model, None if pretrained else num_classes, pretrained)
    except ImportError as error:
        raise UserError(f"{name} needs the package {zoo} ({error}): pip install {zoo}") from error
    except Exception as error:  # each package has its own, those of its downloads among them
        reason = reason_of(error)
        raise UserError(
            f"{name} cannot be loaded from {zoo} ({reason}): check the name and the network "
            "connection, or give its weights by --weights FILE"
        ) from error
    return network.eval(), normalization


def hub_weights(name: str) -> Path:
    """Return the weights of hf:OWNER/REPOSITORY, or of hf:FOLDER that `pyrobust publish` wrote.

    Raises:
        UserError: the package huggingface_hub is missing, or the repository or its weights are.
    """
    repository = name.removeprefix("hf:")
    folder = Path(repository)
    if not folder.is_dir():
        try:
            hub: Any = import_module("huggingface_hub")
            folder = Path(
                hub.snapshot_download(repository, allow_patterns=[WEIGHTS, "config.json"])
            )
        except ImportError as error:
            raise UserError(
                f"{name} needs the package huggingface_hub: pip install huggingface_hub"
            ) from error
        except Exception as error:  # of the package, its network and its server
            reason = reason_of(error)
            raise UserError(
                f"{name} cannot be downloaded ({reason}): check the name and the network connection"
            ) from error
    if not (folder / WEIGHTS).is_file():
        raise UserError(
            f"{name} has no {WEIGHTS}: expected a repository that 'pyrobust publish' made; for "
            "models of timm on the Hub use timm:hf-hub:OWNER/REPOSITORY"
        )
    return folder / WEIGHTS


def _timm(
    model: str, num_classes: int | None, pretrained: bool
) -> tuple[nn.Module, Normalization | None]:
    timm: Any = import_module("timm")
    classes = {} if num_classes is None else {"num_classes": num_classes}
    network: nn.Module = timm.create_model(model, pretrained=pretrained, **classes)
    facts: Any = network.pretrained_cfg if pretrained else None
    return network, facts and (tuple(facts["mean"]), tuple(facts["std"]))


def _torchvision(
    model: str, num_classes: int | None, pretrained: bool
) -> tuple[nn.Module, Normalization | None]:
    models: Any = import_module("torchvision.models")
    classes = {} if num_classes is None else {"num_classes": num_classes}
    if not pretrained:
        return models.get_model(model, weights=None, **classes), None
    weights = models.get_model_weights(model).DEFAULT
    transform = weights.transforms()
    return models.get_model(model, weights=weights), (tuple(transform.mean), tuple(transform.std))

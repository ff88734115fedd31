"""Published checkpoints as models of this project, and conversion between the two formats."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyrobust.errors import UserError
from pyrobust.models.build import build_model
from pyrobust.models.checkpoints import (
    architecture_of,
    published_state,
    read_checkpoint,
    write_checkpoint,
)
from pyrobust.models.files import load_model, load_strictly, save_model
from pyrobust.models.layers import ImageClassifier
from pyrobust.models.published import NORMALIZATION, PUBLISHED, download, published_model
from pyrobust.models.spec import ModelSpec, agreed, stated_normalization

logger = logging.getLogger(__name__)

# The published networks use it; a file in their layout does not say so.
_ACTIVATION = "silu"
_IMAGE_SIZE = 32


@dataclass(frozen=True)
class Statements:
    """What a user states about the model in a file; empty where nothing is stated.

    Args:
        dataset: the data set whose published normalisation the model uses.
        activation: silu or relu.
        image_size: (height, width) of its images.
        mean, std: its normalisation, one number a channel or one for all.
    """

    dataset: str | None = None
    activation: str | None = None
    image_size: tuple[int, int] | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def convert_checkpoint(source: str, target: Path, stated: Statements, downloads: Path) -> None:
    """Write the weights of `source` to `target` in the format of its suffix.

    Args:
        source: a file of a classifier, or the name of a published one, which is downloaded to
            `downloads`.

    Raises:
        UserError: an unknown suffix, a file that does not fit, a missing fact, or one that
            the file and the user state differently.
    """
    if target.suffix not in (".safetensors", ".pt"):
        raise UserError(f"{target} ends in '{target.suffix}'; use .safetensors or .pt")
    path = Path(source)
    if not path.is_file() and not path.suffix:
        path = download(published_model(source), downloads)
    model, spec = load_classifier(path, stated)
    if target.suffix == ".pt":
        write_checkpoint(target, model, spec)
    else:
        save_model(target, model, spec)


def load_classifier(
    path: Path,
    stated: Statements,
    dataset: str | None = None,
    image_size: tuple[int, int] = (_IMAGE_SIZE, _IMAGE_SIZE),
) -> tuple[ImageClassifier, ModelSpec]:
    """Read a classifier of this project or of the published layout, in evaluation mode.

    Each fact has one owner: the file that states it, else the publisher of a file by that name,
    else the user. A second statement must agree with the owner's.

    Args:
        dataset: data set whose published normalisation is assumed if no source states one.
        image_size: (height, width) assumed if no source states it.

    Raises:
        UserError: no such file, no known normalisation, or contradictory statements.
    """
    is_ours = path.suffix == ".safetensors"
    statements: dict[str, Facts] = {}
    if is_ours:
        model, spec = load_model(path)
        statements[str(path)] = _facts_of(spec)
    else:
        checkpoint = read_checkpoint(path)
        state = published_state(checkpoint)
        architecture, num_classes, channels = architecture_of(state, str(path))
        statements[str(path)] = _facts_of(checkpoint.spec) if checkpoint.spec else {}
        statements[f"the weights in {path}"] = {
            "architecture": architecture,
            "number of classes": num_classes,
            "number of channels": channels,
            "normalisation": checkpoint.normalization_beside(()),
        }
    if path.stem in PUBLISHED:
        statements["the publisher of a file by that name"] = _facts_of(PUBLISHED[path.stem].spec)
    statements["the user"] = _facts_stated(stated, statements)
    facts = {
        fact: agreed(fact, {who: known.get(fact) for who, known in statements.items()})
        for fact in _FACTS
    }
    if is_ours:
        return model, spec
    spec = _spec(path, facts, dataset, image_size)
    model = build_model(spec)
    load_strictly(model, state, str(path))
    return model, spec


Facts = Mapping[str, Any]

_FACTS = (
    "architecture",
    "number of classes",
    "number of channels",
    "activation",
    "image size",
    "normalisation",
)


def _facts_of(spec: ModelSpec) -> Facts:
    height, width, channels = spec.image_shape
    values = (spec.architecture, spec.num_classes, channels, spec.activation, (height, width))
    return dict(zip(_FACTS, (*values, spec.normalization), strict=True))


def _facts_stated(stated: Statements, others: Mapping[str, Facts]) -> Facts:
    """Return what the user states of a model with as many channels as `others` say."""
    channels = next(facts["number of channels"] for facts in others.values() if facts)
    if stated.dataset is not None and stated.dataset not in NORMALIZATION:
        raise UserError(
            f"no published normalisation is known for '{stated.dataset}'; use --dataset with "
            f"one of {', '.join(NORMALIZATION)}, or give --mean and --std"
        )
    normalization = agreed(
        "normalisation",
        {
            f"--dataset {stated.dataset}": NORMALIZATION.get(str(stated.dataset)),
            "--mean and --std": stated_normalization(stated.mean, stated.std, channels),
        },
    )
    return {
        "activation": stated.activation,
        "image size": stated.image_size,
        "normalisation": normalization,
    }


def _spec(path: Path, facts: Facts, dataset: str | None, image_size: tuple[int, int]) -> ModelSpec:
    """Return the specification of a checkpoint; missing facts are those published, and logged."""
    normalization = facts["normalisation"] or NORMALIZATION.get(str(dataset))
    if normalization is None:
        raise UserError(
            f"{path} does not include its normalisation, and no published one is known for data "
            f"set '{dataset}'; give --mean and --std, or convert it with --dataset "
            f"{' or '.join(NORMALIZATION)}"
        )
    assumed = []
    if facts["activation"] is None:
        assumed.append(f"activation {_ACTIVATION}")
    if facts["normalisation"] is None:
        assumed.append(f"mean {normalization[0]} and std {normalization[1]} of {dataset}")
    if assumed:
        logger.warning(
            "%s does not describe its model completely: assuming %s, as in published "
            "checkpoints; use 'pyrobust convert' for other values",
            path,
            " and ".join(assumed),
        )
    return ModelSpec(
        facts["architecture"],
        facts["activation"] or _ACTIVATION,
        facts["number of classes"],
        (*(facts["image size"] or image_size), facts["number of channels"]),
        *normalization,
    )

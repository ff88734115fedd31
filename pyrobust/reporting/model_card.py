"""A folder that the Hugging Face Hub shows as a model: weights, configuration, model card."""

import copy
import json
import shutil
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from torch import nn

from pyrobust import __version__
from pyrobust.errors import UserError, reason_of
from pyrobust.evaluation.describe import (
    RESULT,
    ROWS,
    attack_words,
    interval_of_result,
    read_result,
)
from pyrobust.files import atomic_path, read_json, sha256_of, write_json, write_text
from pyrobust.models import load_model
from pyrobust.models.files import WEIGHTS, sha256_of_state
from pyrobust.models.spec import GIVEN
from pyrobust.reporting.departures import attack_departures
from pyrobust.reporting.wording import norm_name

CONFIG, CARD = "config.json", "README.md"


def write_model_folder(
    model: Path,
    evaluation: Path,
    output: Path,
    *,
    name: str,
    license_name: str | None = None,
    training: Path | None = None,
    network: nn.Module | None = None,
) -> None:
    """Write weights, `config.json`, the evaluation and a model card to `output`, the card last.

    Args:
        model: a `.safetensors` file of `pyrobust train` or `pyrobust convert`.
        evaluation: folder that `pyrobust evaluate` wrote about this very file, or that holds an
            evaluation of its weights in memory.
        name: title of the card.
        license_name: identifier of the licence as the Hub spells it, such as apache-2.0.
        training: `training.json` of the `pyrobust train` that wrote these weights, for its
            settings.
        network: takes the weights of a network that was given in Python; a copy of it does.

    Raises:
        UserError: a file is missing or damaged, or evaluation or training are of other weights.
    """
    loaded, spec = load_model(model, "cpu", copy.deepcopy(network))
    result = read_result(evaluation)
    digest = sha256_of(model)
    evaluated = result["subject"]["network"]["sha256"]
    if not {digest, sha256_of_state(loaded)} & set(evaluated):
        raise UserError(
            f"{evaluation} evaluated other weights (sha256 {', '.join(evaluated)}) than {model} "
            f"(sha256 {digest}): evaluate this file, or name the one that was evaluated"
        )
    settings = _training_settings(training, digest) if training else None
    card = _card(result, spec.to_json(), digest, name, license_name, settings, network)
    output.mkdir(parents=True, exist_ok=True)
    (output / CARD).unlink(missing_ok=True)
    for source, target in ((model, WEIGHTS), (evaluation / ROWS, ROWS)):
        with atomic_path(output / target) as temporary:
            shutil.copyfile(source, temporary)
    write_json(output / RESULT, result)
    write_json(
        output / CONFIG,
        {
            "library_name": "pyrobust",
            "pyrobust_version": __version__,
            "weights_sha256": digest,
            "spec": spec.to_json(),
        },
    )
    write_text(output / CARD, card)


def _training_settings(training: Path, digest: str) -> dict[str, Any]:
    """Return the settings of the run whose weights have this SHA-256.

    Raises:
        UserError: `training` is not the record of a run, or lies next to other weights.
    """
    record, weights = read_json(training, "pyrobust train"), training.parent / WEIGHTS
    if "settings" not in record:
        raise UserError(f"{training} is not a record of a training: name its training.json")
    found = sha256_of(weights) if weights.is_file() else None
    if found != digest:
        raise UserError(
            f"{training} belongs to other weights: {weights} has SHA-256 {found}, but the model "
            f"{digest}; name the training.json of the run that wrote this model"
        )
    settings: dict[str, Any] = record["settings"]
    return settings


def push_model_folder(folder: Path, repository: str, private: bool) -> str:
    """Upload a folder that `write_model_folder` wrote, and return its address.

    Raises:
        UserError: the package huggingface_hub is missing, no login, or the upload fails.
    """
    if not (folder / CARD).is_file():
        raise UserError(f"{folder} has no {CARD}: 'pyrobust publish' writes it")
    try:
        hub: Any = import_module("huggingface_hub")
        api = hub.HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        files = [WEIGHTS, CONFIG, CARD, ROWS, RESULT]
        return str(
            api.upload_folder(repo_id=repository, folder_path=str(folder), allow_patterns=files)
        )
    except ImportError as error:
        raise UserError("--push needs the package huggingface_hub: pip install it") from error
    except Exception as error:  # of the package, its network and its server
        reason = reason_of(error)
        raise UserError(
            f"cannot upload to {repository} ({reason}): log in with 'hf auth login', check the "
            "name and the network connection"
        ) from error


def _card(
    result: Mapping[str, Any],
    spec: Mapping[str, Any],
    digest: str,
    name: str,
    license_name: str | None,
    training: Mapping[str, Any] | None,
    network: nn.Module | None,
) -> str:
    count = result["num_images"]
    # Of an evaluation that was stopped, all images that it would have attacked.
    population = result.get("anytime", {"population": count})["population"]
    accuracies = {"clean": result["clean_accuracy"], "robust": result["worst"]}
    environment = Environment(
        loader=PackageLoader("pyrobust.reporting"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # A JSON string is valid YAML, whatever it contains.
    environment.filters["quoted"] = json.dumps
    is_aa_mt = result["settings"].get("attack", "aa_mt") == "aa_mt"
    card: str = environment.get_template("model_card.md.j2").render(
        name=name,
        license=license_name,
        result=result,
        spec=spec,
        digest=digest,
        attack=attack_words(result),
        norm=norm_name(result["norm"]),
        accuracies={
            key: (100 * value, [100 * bound for bound in interval_of_result(result, value)])
            for key, value in accuracies.items()
        },
        population=population,
        departures=attack_departures(result["settings"], count, population) if is_aa_mt else [],
        failed=[check for check in result["checks"] if check["passed"] is False],
        training=training,
        # `load_model` has required the network if the weights are of one given in Python.
        given=type(network).__name__ if spec["architecture"].startswith(GIVEN) else None,
        unnamed=type(network).__module__.startswith("torch."),
        layers=str(network),
        version=__version__,
    )
    return card

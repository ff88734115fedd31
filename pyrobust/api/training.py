"""`pyrobust.train`: robust training of any classifier on images in memory."""

import copy
import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from torch import nn

from pyrobust.api.evaluation import EvaluationResult, evaluate
from pyrobust.api.images import Images, Labels
from pyrobust.api.models import epsilon_of, normalization_of
from pyrobust.api.trackers import trackers_of
from pyrobust.api.training_data import Validation, dataset_folder, names_of, samples_folder
from pyrobust.config import parse_settings
from pyrobust.config.training import TrainSettings
from pyrobust.data import Dataset
from pyrobust.errors import UserError
from pyrobust.files import described_by, exclusive, read_json, write_json, write_text
from pyrobust.imports import import_path_of
from pyrobust.models import ImageClassifier, ModelSpec, load_model, save_model
from pyrobust.models.files import WEIGHTS
from pyrobust.models.imported import ImportedClassifier
from pyrobust.models.layers import own_normalization
from pyrobust.models.spec import GIVEN, agreed
from pyrobust.ops.device import choose_device
from pyrobust.training.runtime import Runtime
from pyrobust.training.train_robust import train_robust

logger = logging.getLogger(__name__)

_RECORD, _LOG, _COST = "training.json", "log.jsonl", "cost.json"


@dataclass(frozen=True, repr=False)
class TrainedClassifier:
    """What a training produced.

    Attributes:
        model: maps pixels (N, C, H, W) in [0, 1] to logits (N, K), in evaluation mode. Its weights
            are the averaged ones of the highest robust accuracy on the validation images.
        network: a copy of the network that was given, with these weights; `model` otherwise.
        spec: architecture, classes, image shape and normalisation.
        record: what `training.json` holds (docs/formats.md): settings, steps, validation.
        log: lines of `log.jsonl`, loss and accuracies over the course of training.
        cost: seconds, images/s, memory, device and versions.
    """

    model: ImageClassifier
    network: nn.Module
    spec: ModelSpec
    record: Mapping[str, Any]
    log: Sequence[Mapping[str, Any]]
    cost: Mapping[str, Any]

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        network: nn.Module | None = None,
        device: str = "cpu",
    ) -> Self:
        """Read a folder that `save` or `pyrobust train` wrote.

        Args:
            network: takes the weights of a network that was given in Python; a copy of it does.

        Raises:
            UserError: the folder holds no finished training, or the weights do not fit `network`.
        """
        path = Path(folder)
        record = read_json(path / _RECORD, "pyrobust train")
        model, spec = load_model(path / WEIGHTS, device, copy.deepcopy(network))
        own: nn.Module = model
        if network is not None and isinstance(model, ImportedClassifier):
            own = copy.deepcopy(network).eval().to(device)
            own.load_state_dict(model.network.state_dict())
        with described_by(path / _LOG, "pyrobust train"):
            lines = (path / _LOG).read_text(encoding="utf-8").splitlines()
            log = [json.loads(line) for line in lines]
        return cls(model, own, spec, record, log, read_json(path / _COST, "pyrobust train"))

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the files that `pyrobust train` writes, the record last."""
        path = Path(folder)
        with exclusive(path):
            save_model(path / WEIGHTS, self.model, self.spec)
            write_text(path / _LOG, "".join(json.dumps(line) + "\n" for line in self.log))
            write_json(path / _COST, dict(self.cost))
            write_json(path / _RECORD, dict(self.record))

    @property
    def history(self) -> list[dict[str, Any]]:
        """Each validation: its step, clean and robust accuracy, and the generalisation gap."""
        return list(self.record["history"])

    @property
    def clean_accuracy(self) -> float:
        """Share of the validation images that `model` classifies correctly, in [0, 1]."""
        return float(self.record["validation"]["clean_accuracy"])

    @property
    def robust_accuracy(self) -> float:
        """Share of them still classified correctly under PGD-40, in [0, 1].

        The weights were chosen by it: quote `evaluate` on images of a test set instead.
        """
        return float(self.record["validation"]["robust_accuracy"])

    def evaluate(self, images: Images, labels: Labels = None, **settings: Any) -> EvaluationResult:
        """Attack `model` (see `pyrobust.evaluate`), by default within the radius of training."""
        trained = self.record["settings"]
        threat = {"norm": trained["norm"], "epsilon": trained["epsilon"]}
        return evaluate(self.model, images, labels, **{**threat, **settings})

    def publish(
        self,
        folder: str | os.PathLike[str],
        evaluation: EvaluationResult,
        *,
        name: str,
        license_name: str | None = None,
    ) -> Path:
        """Write a folder for the Hugging Face Hub, as `pyrobust publish` does, and return it.

        Args:
            evaluation: of this model, from `evaluate`.
            name: title of the model card.
            license_name: licence as the Hub spells it, such as apache-2.0.

        Raises:
            UserError: the evaluation is of other weights.
        """
        from pyrobust.reporting.model_card import write_model_folder

        output = Path(folder)
        with tempfile.TemporaryDirectory() as scratch, exclusive(output):
            trained, evaluated = Path(scratch, "training"), Path(scratch, "evaluation")
            self.save(trained)
            evaluation.save(evaluated)
            write_model_folder(
                trained / WEIGHTS,
                evaluated,
                output,
                name=name,
                license_name=license_name,
                training=trained / _RECORD,
                network=None if self.network is self.model else self.network,
            )
        return output

    def __repr__(self) -> str:
        """Return the network, its training and its accuracy on the validation images."""
        settings, found = self.record["settings"], self.record["validation"]
        objective = settings.get("objective", "trades")
        return (
            f"{self.spec.architecture.removeprefix(GIVEN)}, trained with {objective}, "
            f"{settings['norm']} {settings['epsilon']}: clean {100 * self.clean_accuracy:.1f} %, "
            f"robust {100 * self.robust_accuracy:.1f} % under PGD-40 on {found['num_images']} "
            f"validation images (step {self.record['best_step']} of {self.record['steps']})"
        )


def train(
    network: nn.Module | str,
    images: Images,
    labels: Labels = None,
    *,
    norm: str,
    epsilon: str | float,
    epochs: float,
    generated: Images | None = None,
    generated_labels: Labels = None,
    validation: Validation = None,
    mean: float | Sequence[float] = (),
    std: float | Sequence[float] = (),
    crop_padding: int | None = None,
    flip: bool | None = None,
    seed: int = 0,
    device: str = "auto",
    output: str | os.PathLike[str] | None = None,
    trackers: str | Sequence[str] = (),
    **settings: Any,
) -> TrainedClassifier:
    """Train a classifier to withstand perturbations, on original and generated images.

    This is `pyrobust train` on images in memory. They are kept in 8 bits per channel. Loaders and
    data sets are read once: leave random transformations out, since training crops and mirrors
    images by itself.

    Args:
        network: a module that maps images to logits (N, K), of which a copy is trained from its
            present weights; or an architecture: wrn-28-10, resnet-18, timm:NAME, torchvision:NAME
            or MODULE:NAME of a constructor, which starts from random weights.
        images: (N, C, H, W), floating-point in [0, 1] or uint8; a DataLoader or data set of
            (image, label); a sample store; or the folder of a data set, with its validation split.
        labels: (N,) integers; None where `images` brings them.
        norm: linf or l2.
        epsilon: radius for pixels in [0, 1], such as "8/255" or 0.5.
        epochs: passes over as many images as there are original ones (`epoch_size`).
        generated: more images, as `images`, or the folder of a store (`pyrobust select`). They are
            mixed into each batch, by default 70% of it (`mixing_factor`).
        generated_labels: (N,) integers; None where `generated` brings them.
        validation: images with their labels, or how many of `images` to hold out, evenly over the
            classes; default: a tenth, at most 1,024. The best weights on them are kept.
        mean, std: per channel or one for all, if the network expects (pixels - mean) / std. By
            default a module sees pixels, and an architecture normalised training images.
        crop_padding: zeros on each side before a random crop; default: 4. Use 0 or 1 for images
            smaller than 32×32.
        flip: whether images are mirrored at random; default: yes. Switch it off for digits.
        seed: of weights, batches, augmentation and attack.
        device: auto, cpu or cuda.
        output: folder for the result and for the state that a killed call resumes from. A finished
            training of the same arguments is returned from it.
        trackers: tensorboard, wandb, mlflow or trackio; they need `output`.
        settings: any other field of `TrainSettings` (docs/training.md), such as `batch_size`,
            `learning_rate`, `validations` or `objective`, which can also be a class of your own.

    Raises:
        UserError: names the argument, its value and what to change.
    """
    given = network if isinstance(network, nn.Module) else None
    if given is None and not isinstance(network, str):
        raise UserError(
            f"network is a {type(network).__name__}, expected a torch.nn.Module or the name of an "
            "architecture, such as 'resnet-18'"
        )
    if "architecture" in settings:
        raise UserError("architecture is not a setting here: give its name as network")
    names = trackers_of(trackers, output)
    runtime = Runtime(device=str(choose_device(device)), trackers=names)
    values = {
        "norm": norm,
        "epsilon": epsilon_of(epsilon),
        "epochs": epochs,
        "seed": seed,
        **({} if given is not None else {"architecture": network}),
        **({"mixing_factor": 1.0} if generated is None else {}),
        **settings,
    }
    if "objective" in settings:
        values["objective"] = import_path_of(settings["objective"], "objective")
    if generated is None and generated_labels is not None:
        raise UserError("generated_labels are given without generated images: give both or neither")
    parse_settings(TrainSettings, values)  # before images are read
    asked = {"crop_padding": crop_padding, "flip": flip}
    augmentation = {key: value for key, value in asked.items() if value is not None}
    with tempfile.TemporaryDirectory() as scratch:
        data = dataset_folder(
            images, labels, validation, names_of(generated), augmentation, Path(scratch, "data")
        )
        samples = None
        if generated is not None:
            samples = samples_folder(generated, generated_labels, data, Path(scratch, "samples"))
        dataset = Dataset.open(data)
        parsed = parse_settings(TrainSettings, {"epoch_size": dataset.train.count, **values})
        folder = Path(scratch, "run") if output is None else Path(output)
        channels = dataset.image_shape[2]
        stated = normalization_of(mean, std, channels)
        own = None if given is None else own_normalization(given, channels)
        agreed("normalisation", {"the buffers of the network": own, "mean and std": stated})
        if given is not None and (stated is None or own is not None):
            stated = ((0.0,) * channels, (1.0,) * channels)
        train_robust(data, samples, folder, parsed, runtime, given, stated)
        trained = TrainedClassifier.load(folder, given, runtime.device)
    warn_of_decline(trained.history)
    return trained


def warn_of_decline(history: Sequence[Mapping[str, Any]]) -> None:
    """Say if training made the network worse, as too high a learning rate does."""
    first, last = history[0]["robust_accuracy"], history[-1]["robust_accuracy"]
    if first == max(entry["robust_accuracy"] for entry in history) and last < first:
        logger.warning(
            "robust accuracy on the validation images fell from %.1f %% at the first validation to "
            "%.1f %% at the last: lower learning_rate, for example to 0.01",
            100 * first,
            100 * last,
        )

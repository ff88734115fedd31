"""The inputs of a classifier's training, and its task in the training loop."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from pyrobust.data.dataset import Dataset
from pyrobust.data.store import SampleStore
from pyrobust.errors import UserError
from pyrobust.models import ImageClassifier, ModelSpec, build_model, initialize
from pyrobust.models.imported import ImportedClassifier, build_imported, check_trainable
from pyrobust.models.memory_format import to_channels_last
from pyrobust.models.spec import Normalization
from pyrobust.training.early_stopping import BestWeights
from pyrobust.training.loader import Augmentation
from pyrobust.training.loop import Metrics
from pyrobust.training.weight_averaging import AveragedSgd


@dataclass(frozen=True)
class TrainingInputs:
    """A data set and, where they are used, generated samples.

    Attributes:
        normalization: of the pixels that the network sees; None is that of the training images.
    """

    dataset: Dataset
    generated: SampleStore | None
    normalization: Normalization | None = None

    @classmethod
    def open(
        cls,
        dataset: Path,
        samples: Path | None = None,
        normalization: Normalization | None = None,
    ) -> Self:
        """Open both.

        Raises:
            UserError: one is missing, or they do not fit together.
        """
        generated = None if samples is None else SampleStore.open(samples)
        inputs = cls(Dataset.open(dataset), generated, normalization)
        inputs._check()
        return inputs

    def _check(self) -> None:
        if self.generated is None:
            return
        if not self.generated.labelled:
            raise UserError(
                f"{self.generated.path} has no labels: give samples that 'pyrobust select' wrote"
            )
        self.generated.check_fits(self.dataset.train, "use samples for the same data set")

    @property
    def augmentation(self) -> Augmentation:
        """Crop and flip of training images, original and generated."""
        return Augmentation(self.dataset.crop_padding, self.dataset.flip)

    def spec(self, architecture: str, activation: str) -> ModelSpec:
        """Return the specification of a network for these images."""
        dataset = self.dataset
        mean, std = self.normalization or (dataset.mean, dataset.std)
        return ModelSpec(
            architecture, activation, dataset.num_classes, dataset.image_shape, mean, std
        )

    def identity(self) -> dict[str, Any]:
        """Return the hashes of all images, and a normalisation of their own, as JSON values."""
        own = {} if self.normalization is None else {"normalization": self.normalization}
        return {
            "dataset": self.dataset.sha256,
            "samples": self.generated.sha256 if self.generated is not None else None,
            **own,
        }


# Returns the metrics of a model; None if it was stopped meanwhile.
Validation = Callable[[ImageClassifier, Callable[[], bool]], Metrics | None]


class ClassifierTask:
    """Trains with `step`, validates the averaged weights and keeps the best ones.

    Args:
        step: makes update t and returns its metrics.
        log_facts: returns the values of a log line after t updates, besides the metrics.
        validation: measures the averaged weights; without it, the last weights are the result.
    """

    def __init__(
        self,
        step: Callable[[int], Tensor],
        metric_names: Sequence[str],
        log_facts: Callable[[int], Metrics],
        optimizer: AveragedSgd,
        validation: Validation | None = None,
    ) -> None:
        self.step, self.metric_names, self.log_facts = step, metric_names, log_facts
        self._optimizer, self._validation = optimizer, validation
        self._best = BestWeights()

    def averaged_model(self) -> ImageClassifier:
        """Return the averaged weights with the live running statistics, in evaluation mode."""
        self._optimizer.refresh_statistics()
        return self._optimizer.averaged

    def validate(self, stopping: Callable[[], bool]) -> Metrics | None:
        """Return the metrics of the averaged weights; None if it was stopped."""
        assert self._validation is not None
        return self._validation(self.averaged_model(), stopping)

    def keep(self) -> None:
        """Keep a copy of the averaged weights as the best so far."""
        self._best.keep(self.averaged_model().state_dict())

    def result(self) -> Mapping[str, Tensor]:
        """Return the state dict of the best weights, or of the last ones without validation."""
        return self._best.weights if self._validation else self.averaged_model().state_dict()

    def state(self) -> dict[str, Tensor]:
        """Return all tensors that the next step depends on, and the best weights."""
        return {**self._optimizer.state(), **self._best.state()}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what `state` returned."""
        self._optimizer.load_state(tensors)
        self._best.load_state(tensors)


def new_model(
    spec: ModelSpec,
    seed: int,
    zero_logits: bool,
    channels_last: bool,
    device: torch.device,
    network: nn.Module | None = None,
) -> ImageClassifier:
    """Return a network with the initial weights of `seed`, the same on every device.

    An imported network initialises itself, except for its last layer if `zero_logits`.

    Args:
        network: copied with its weights, instead of a new network of the spec.

    Raises:
        UserError: an imported network cannot be constructed or does not fit the images.
    """
    if network is not None:
        model: ImageClassifier = build_imported(spec, copy.deepcopy(network))
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = build_model(spec)
    model.to(device)
    if isinstance(model, ImportedClassifier):
        check_trainable(model, spec)
        if zero_logits and network is None:
            model.zero_logits()
    else:
        initialize(model, torch.Generator().manual_seed(seed), zero_logits)
    model.to(device)
    if channels_last:
        to_channels_last(model)
    return model

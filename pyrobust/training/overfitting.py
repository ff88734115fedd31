"""Robust overfitting: validation on training images as well, for averaged and live weights.

Early stopping only needs the averaged weights on the validation split. The gap between training and
validation images measures robust overfitting (Rice et al. 2020); the live weights show how much of
it weight averaging removes.
"""

from collections.abc import Callable

from pyrobust.models import ImageClassifier
from pyrobust.training.early_stopping import RobustValidation
from pyrobust.training.loop import Metrics


class GapValidation:
    """Measures the averaged weights for early stopping, and then the generalisation gap.

    Args:
        validation: measures the validation split; its metrics keep their names.
        training_part: measures the first training images.
        validation_part: measures as many validation images, for the live weights.
        live: the network that is trained, in evaluation mode between steps.
    """

    def __init__(
        self,
        validation: RobustValidation,
        training_part: RobustValidation,
        validation_part: RobustValidation,
        live: ImageClassifier,
    ) -> None:
        self._validation, self._live = validation, live
        self._training_part, self._validation_part = training_part, validation_part

    def __call__(
        self, model: ImageClassifier, stopping: Callable[[], bool] = lambda: False
    ) -> Metrics | None:
        """Return the metrics of `model` and, with prefixes, those of the gap; None if stopped.

        `train_` is of the averaged weights on training images; `live_` and `live_train_` are of
        the live weights on validation and training images.
        """
        metrics: Metrics = {}
        for prefix, measure, network in (
            ("", self._validation, model),
            ("train_", self._training_part, model),
            ("live_", self._validation_part, self._live),
            ("live_train_", self._training_part, self._live),
        ):
            found = measure(network, stopping)
            if found is None:
                return None
            metrics |= {f"{prefix}{name}": value for name, value in found.items()}
        return metrics

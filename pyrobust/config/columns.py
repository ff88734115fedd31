"""What a point of a sweep has under the name of a column or a setting."""

import math
from collections.abc import Mapping
from typing import Any

from pyrobust.config.base import parse_settings
from pyrobust.config.experiment import ExperimentSettings, check_training, own_training_keys
from pyrobust.config.fields import parse_epsilon

_OF_TRAINING = "training."

# By name: what an experiment sets, and what its training or the recipe does.
SETTING_COLUMNS = (
    *ExperimentSettings.model_fields,
    *(_OF_TRAINING + key for key in own_training_keys()),
)


def value_of(settings: Mapping[str, Any], own: Mapping[str, Any], column: str) -> Any:
    """Return a column of a point; None where the point has none.

    Args:
        settings: of its experiment.
        own: what the sweep says of the point itself.
        column: a key of either, or training.KEY, which is the recipe's where not set.
    """
    if column.startswith(_OF_TRAINING):
        training = check_training(parse_settings(ExperimentSettings, settings))
        return getattr(training, column.removeprefix(_OF_TRAINING))
    return {**settings, **own}.get(column)


def as_number(value: Any) -> float:
    """Return the number that a column holds, such as 0.3, "1000" or "8/255".

    Raises:
        ValueError: it holds none.
    """
    try:
        found = parse_epsilon(str(value))
    except ZeroDivisionError as error:
        raise ValueError(f"{value} is not a number") from error
    if not math.isfinite(found):
        raise ValueError(f"{value} is not finite")
    return found

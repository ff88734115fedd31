"""From a data set to a generator in a folder."""

import logging
import shutil
import time
from pathlib import Path

from pyrobust.config.data import GeneratorSettings
from pyrobust.cost import write_cost
from pyrobust.data.dataset import Dataset
from pyrobust.errors import UserError
from pyrobust.generators.base import GENERATOR, GeneratorSpec
from pyrobust.generators.registry import GENERATORS, load_generator

logger = logging.getLogger(__name__)


def fit_generator(dataset_folder: Path, output: Path, settings: GeneratorSettings) -> None:
    """Fit a generator on the training split and write weights, cost and, last, generator.json.

    A killed fit goes on; a finished one is left as it is.

    Raises:
        UserError: the data set is missing or damaged, or cannot be fitted.
    """
    started = time.monotonic()
    dataset = Dataset.open(dataset_folder)
    if _is_fitted(output, GeneratorSpec.of(dataset, settings)):
        logger.info("%s is fitted with these settings", output)
        return
    (output / GENERATOR).unlink(missing_ok=True)
    state = output / "state"
    generator = GENERATORS[settings.type].fit(dataset, settings, state)
    write_cost(output / "cost.json", time.monotonic() - started, generator.device)
    generator.save(output)
    shutil.rmtree(state, ignore_errors=True)


def _is_fitted(output: Path, spec: GeneratorSpec) -> bool:
    if not (output / GENERATOR).is_file():
        return False
    try:
        fitted = load_generator(output)
        return fitted.spec == spec and fitted.is_up_to_date()
    except UserError:
        return False

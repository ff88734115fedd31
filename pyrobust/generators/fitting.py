"""From a data set to a generator in a folder."""

import shutil
import time
from pathlib import Path

from pyrobust.config.data import GeneratorSettings
from pyrobust.cost import write_cost
from pyrobust.data.dataset import Dataset
from pyrobust.generators.base import GENERATOR
from pyrobust.generators.registry import GENERATORS


def fit_generator(dataset: Path, output: Path, settings: GeneratorSettings) -> None:
    """Fit a generator on the training split and write weights, cost and, last, generator.json.

    Raises:
        UserError: the data set is missing or damaged, or cannot be fitted.
    """
    started = time.monotonic()
    (output / GENERATOR).unlink(missing_ok=True)
    state = output / "state"
    generator = GENERATORS[settings.type].fit(Dataset.open(dataset), settings, state)
    write_cost(output / "cost.json", time.monotonic() - started, generator.device)
    generator.save(output)
    shutil.rmtree(state, ignore_errors=True)

"""From a data set to a generator in a folder."""

import logging
import shutil
import time
from dataclasses import replace
from pathlib import Path

from pyrobust.config.generators import GeneratorSettings
from pyrobust.cost import write_cost
from pyrobust.data.dataset import Dataset
from pyrobust.errors import UserError
from pyrobust.generators.base import FITTED, MADE_BY, Fit, Generator
from pyrobust.generators.registry import GENERATORS, load_generator
from pyrobust.training.data_parallel import joined_processes
from pyrobust.training.runtime import Runtime

logger = logging.getLogger(__name__)


def fit_generator(
    dataset_folder: Path, output: Path, settings: GeneratorSettings, runtime: Runtime
) -> None:
    """Fit a generator on the training split and write weights, cost and, last, generator.json.

    A killed fit goes on; the weights of a finished one stay as they are, also where the settings
    of sampling are others or generator.json is gone. What lies there is replaced when the new
    weights are there, not before.

    Raises:
        UserError: the data set is missing or damaged, or cannot be fitted.
        Interrupted: a scheduler asked for it; the same call goes on from there.
    """
    started = time.monotonic()
    dataset = Dataset.open(dataset_folder)
    kind = GENERATORS[settings.type]
    with joined_processes(runtime.device) as processes, processes.holding(output):
        if processes.world_size > 1 and not kind.parallel:
            raise UserError(
                f"type {settings.type} does not support {processes.world_size} processes; run "
                f"'{MADE_BY}' with --processes 1"
            )
        fit = Fit(dataset, settings, output, runtime, processes)
        fitted = _fitted(fit) if processes.is_main else None
        if processes.any(fitted is not None):
            if fitted is not None:
                fitted.spec = fit.spec
                fitted.describe(output)
            logger.info("%s is already trained with these settings", output)
            return
        generator = kind.fit(fit)
        if processes.is_main:
            _write_cost(fit, generator, time.monotonic() - started)
            generator.save(output)
            shutil.rmtree(fit.state, ignore_errors=True)


def _write_cost(fit: Fit, generator: Generator, seconds: float) -> None:
    path, run = fit.folder / "cost.json", generator.run
    if run is None:
        write_cost(path, seconds, generator.device)
    else:
        rate = fit.settings.images_per_step * run.step / max(run.training_seconds, 1e-9)
        write_cost(path, run.seconds, str(fit.processes.device), rate)


def _fitted(fit: Fit) -> Generator | None:
    """Return what is fitted already, if its weights are those that the settings ask for."""
    try:
        fitted = load_generator(fit.folder, description=FITTED)
    except UserError:
        return None
    same_data = replace(fitted.spec, settings=fit.settings) == fit.spec
    same_fit = fitted.spec.settings.fitting() == fit.settings.fitting()
    return fitted if same_data and same_fit and fitted.is_up_to_date() else None

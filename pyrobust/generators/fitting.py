"""Fit a generator of any type on a data set, and write it to a folder (`fit-generator`)."""

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from pyrobust.config.generators import GeneratorSettings
from pyrobust.cost import write_cost
from pyrobust.data.dataset import Dataset
from pyrobust.data.store import SampleStore
from pyrobust.errors import UserError
from pyrobust.generators.base import FITTED, MADE_BY, FidMeasure, Fit, Generator
from pyrobust.generators.registry import generator_class, load_generator
from pyrobust.own_code import running
from pyrobust.training.data_parallel import joined_processes
from pyrobust.training.runtime import Runtime

logger = logging.getLogger(__name__)


# (path of the features, training images, device) -> measure of the FID.
MakeFid = Callable[[Path, SampleStore, torch.device], FidMeasure]


def fit_generator(
    dataset_folder: Path,
    output: Path,
    settings: GeneratorSettings,
    runtime: Runtime,
    make_fid: MakeFid | None = None,
) -> None:
    """Fit a generator on the training split and write weights, cost and, last, generator.json.

    An interrupted fit resumes. A finished one is kept if only sampling settings changed or
    generator.json is missing. New weights replace old ones only once they are complete.

    Args:
        make_fid: returns the measure of the FID during training; required for `keep_best`.

    Raises:
        UserError: the data set is missing or damaged, or cannot be fitted.
        Interrupted: a scheduler asked the run to stop; the same call resumes.
    """
    started = time.monotonic()
    dataset = Dataset.open(dataset_folder)
    kind = generator_class(settings.type)
    with joined_processes(runtime.device, output) as processes:
        if processes.world_size > 1 and not kind.parallel:
            raise UserError(
                f"type {settings.type} does not support {processes.world_size} processes; run "
                f"'{MADE_BY}' with --processes 1"
            )
        fit = Fit(dataset, settings, output, runtime, processes, own_code=kind.own_code())
        fitted = _fitted(fit) if processes.is_main else None
        if processes.any(fitted is not None):
            if fitted is not None:
                fitted.spec = fit.spec
                fitted.describe(output)
            logger.info("%s is already trained with these settings", output)
            return
        if settings.keep_best and settings.fid_features and make_fid and not settings.path:
            features = Path(settings.fid_features)
            fit = replace(fit, fid=make_fid(features, dataset.train, processes.device))
        with running(settings.type):
            generator = kind.fit(fit)
        if processes.is_main:
            _write_cost(fit, generator, time.monotonic() - started)
            with running(settings.type):
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
    """Return the generator in the folder if it has the weights that the settings describe."""
    try:
        fitted = load_generator(fit.folder, description=FITTED)
    except UserError:
        return None
    same_data = replace(fitted.spec, settings=fit.settings) == fit.spec
    same_fit = fitted.spec.settings.fitting() == fit.settings.fitting()
    return fitted if same_data and same_fit and fitted.is_up_to_date() else None

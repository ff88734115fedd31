"""Small images of three shades that a tiny diffusion model learns, and fits of one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyrobust.config import parse_settings
from pyrobust.config.generators import GeneratorSettings
from pyrobust.data.dataset import Dataset
from pyrobust.generators.fitting import fit_generator
from pyrobust.generators.trained import TrainedGenerator
from tests.generators.conftest import write_dataset
from tests.generators.fits import RUNTIME

Fitted = Callable[..., Path]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute twenty images at once, where there are many in a block."""
    monkeypatch.setattr(TrainedGenerator, "block_size", 20)


@pytest.fixture(scope="session")
def shades(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """120 images of 4×4 pixels: dark, grey and bright ones."""
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    images = rng.normal(40 + 80 * labels[:, None, None, None], 15, (120, 4, 4, 1))
    folder = tmp_path_factory.mktemp("shades")
    return write_dataset(folder, images.clip(0, 255).astype(np.uint8), labels)


def quick(kind: str, **values: Any) -> GeneratorSettings:
    """Return settings of a tiny model that is trained for few steps."""
    given = {"training_steps": 12, "batch_size": 8, "warmup_steps": 2, "sampling_steps": 4}
    return parse_settings(GeneratorSettings, {"type": kind, "preset": "tiny", **given, **values})


@pytest.fixture(scope="session", params=["ddpm", "edm"])
def fitted(
    request: pytest.FixtureRequest, shades: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Folder of a model of each type after twelve steps."""
    folder = tmp_path_factory.mktemp("fitted") / str(request.param)
    fit_generator(shades.path, folder, quick(request.param), RUNTIME)
    return folder

from pathlib import Path

import pytest
import torch

from pyrobust.models import ModelSpec, build_model, save_model


@pytest.fixture(scope="session")
def labeller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an untrained labeller of two classes with 64 features."""
    folder = tmp_path_factory.mktemp("labeller")
    spec = ModelSpec("wrn-10-1", "silu", 2, (8, 8, 3), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    torch.manual_seed(0)
    save_model(folder / "model.safetensors", build_model(spec), spec)
    return folder
